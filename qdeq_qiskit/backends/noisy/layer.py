"""The noisy layer: exact expectation values of a circuit with noise, differentiable."""

from __future__ import annotations

from typing import final

import torch
from qiskit import QuantumCircuit
from torch import Tensor, nn

from qdeq_qiskit.backends.engines import torch_device_and_dtype
from qdeq_qiskit.backends.maps import BlochEncoder, ProductMap, QuadraticMap
from qdeq_qiskit.backends.noisy.measured_groups import expectation_rows
from qdeq_qiskit.backends.noisy.noisy_circuit import NoisyCircuit
from qdeq_qiskit.backends.noisy.prepared_map import IdealEncoder, NoisyEncoder, PreparedMap
from qdeq_qiskit.backends.noisy.prepared_state import PreparedState
from qdeq_qiskit.backends.noisy.weight_block import WeightBlock
from qdeq_qiskit.backends.operator_layer import OperatorLayer
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost


@final
class NoisyLayer(OperatorLayer):
    """q(v; θ) of a QNN circuit with noise in its gates and readout, without shots; differentiable to every order.

    The weights are frozen during a solve, so the noisy weight block and the observables are one operator each, given
    by Pauli coordinates: built once per call (or fetched, if the weights are still the same). The noisy encoder's
    state is computed for every sample and every iteration.

    Args:
        circuit: the compiled circuit with its noise.
        device: "cpu" or "cuda".
        precision: "single" or "double".
        weight: the weights, (P,), to share with another layer; if None they start uniform in (−π, π), drawn from
            torch's generator.

    Attributes:
        circuit: as given.
        weight: θ, (P,).

    Raises:
        ValueError: an unknown precision, a weight of another shape, or a GPU that is not there.
    """

    def __init__(
        self,
        circuit: NoisyCircuit,
        *,
        device: str | torch.device = "cpu",
        precision: str = "single",
        weight: nn.Parameter | None = None,
    ) -> None:
        where, dtype = torch_device_and_dtype(device, precision)
        super().__init__(circuit.qnn, device=where, dtype=dtype, weight=weight)
        self.circuit = circuit
        self._block = WeightBlock(circuit.block, circuit.num_wires, device=self.device, dtype=self.dtype)
        rows = expectation_rows(circuit.observables, circuit.noise, circuit.num_wires)
        self._rows = torch.as_tensor(rows, dtype=self.dtype, device=self.device)
        self._angles = circuit.weight_angles()
        self._encoder = _encoder(circuit, self.device, self.dtype)

    @property
    def explanation(self) -> str:
        """How the circuit is evaluated, in one sentence."""
        state = "a product of Bloch vectors" if self.circuit.kind == "product" else "evolved for every sample"
        ideal = "" if self.circuit.encoder_noise else ", without noise"
        return (
            f"one operator of 4^{self.circuit.num_wires} Pauli coordinates for each observable, from the noisy weight "
            f"block; the encoder's state is {state}{ideal}"
        )

    @property
    def compiled(self) -> QuantumCircuit:
        """The circuit in native gates, a copy."""
        return self.circuit.compiled.circuit.copy()

    @property
    def engine_name(self) -> str:
        """What evaluates."""
        return "torch"

    def build(self, weight: Tensor) -> Tensor:
        """Pauli coefficients of the observables before the noisy weight block, (K, 4ⁿ), at some weights, (P,)."""
        return self._block.pull_back(self._rows, self._angles(weight.to(self.dtype)))

    def map_of(self, operators: Tensor, weight: Tensor, x: Tensor, lift: Tensor) -> FixedPointMap:
        cost = self.cost(lift.shape[1])
        if isinstance(self._encoder, BlochEncoder):
            return ProductMap(operators, x, lift, self._encoder, cost)
        if isinstance(self._encoder, IdealEncoder):
            return QuadraticMap(self._encoder.operators(operators), x, lift, cost)
        return PreparedMap(operators, x, lift, self._encoder, cost)

    def cost(self, num_directions: int) -> MapCost:
        """What one sample would cost on a machine, its Jacobian being wanted along so many directions."""
        bases = len(self.circuit.observables.groups)
        if isinstance(self._encoder, IdealEncoder):
            return MapCost(bases, 2 * num_directions * bases)
        return MapCost(bases, self.circuit.num_input_shifts * bases)


def _encoder(
    circuit: NoisyCircuit, device: torch.device, dtype: torch.dtype
) -> BlochEncoder | IdealEncoder | NoisyEncoder:
    angles = circuit.input_angles()
    if circuit.kind == "product":
        return BlochEncoder(circuit.encoder, circuit.num_wires, angles, device=device, dtype=dtype)
    isometry = circuit.ideal_isometry()
    if isometry is not None and not circuit.encoder_noise:
        return IdealEncoder(isometry)
    state = PreparedState(circuit.encoder, circuit.num_wires, device=device, dtype=dtype)
    return NoisyEncoder(state, angles, isometry)
