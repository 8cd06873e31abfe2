"""The noisy layer: exact expectation values of a circuit with noise, differentiable."""

from __future__ import annotations

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
from qdeq_qiskit.equilibrium import Bindable, FixedPointMap, MapCost


class NoisyLayer(nn.Module, Bindable):
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
        super().__init__()
        self.circuit = circuit
        self.qnn = circuit.qnn
        self.device, self.dtype = torch_device_and_dtype(device, precision)
        self._block = WeightBlock(circuit.block, circuit.num_wires, device=self.device, dtype=self.dtype)
        rows = expectation_rows(circuit.observables, circuit.noise, circuit.num_wires)
        self._rows = torch.as_tensor(rows, dtype=self.dtype, device=self.device)
        self._angles = circuit.weight_angles()
        self._encoder = _encoder(circuit, self.device, self.dtype)
        self.weight = self._checked_weight(weight)
        self._kept: tuple[bytes, Tensor] | None = None

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

    def forward(self, features: Tensor, weight: Tensor | None = None) -> Tensor:
        """q(v), (B, K), of features, (B, d), at the layer's own weights or at others, (P,)."""
        nowhere = features.new_zeros(features.shape[-1] if features.ndim else 0, 0)
        return self.bind(features, nowhere, weight).value(features.new_zeros(len(features), 0))

    def bind(self, x: Tensor, lift: Tensor, weight: Tensor | None = None) -> FixedPointMap:
        """The map w ↦ q(R w + x); see `Bindable`.

        Args:
            x: features, (B, d).
            lift: R, (d, n).
            weight: θ, (P,), if not the layer's own.

        Raises:
            ValueError: features of another number, dtype or device than the layer's.
        """
        if x.ndim != 2 or x.shape[1] != self.qnn.num_features:
            raise ValueError(f"features have shape {tuple(x.shape)}; this circuit takes (B, {self.qnn.num_features})")
        if x.dtype != self.dtype or x.device.type != self.device.type:
            raise ValueError(
                f"features are {x.dtype} on {x.device}; this layer computes in {self.dtype} on {self.device}: "
                "convert them, or build the layer with another precision or device"
            )
        operators = self.operators(weight)
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

    def operators(self, weight: Tensor | None = None) -> Tensor:
        """Pauli coefficients of the observables before the noisy weight block, (K, 4ⁿ), at these weights, (P,)."""
        weight = self.weight if weight is None else weight
        if torch.is_grad_enabled() and weight.requires_grad:
            return self._built(weight)
        key = weight.detach().cpu().numpy().tobytes()
        if self._kept is None or self._kept[0] != key:
            # Kept tensors must serve outside of inference mode too.
            with torch.inference_mode(False), torch.no_grad():
                self._kept = (key, self._built(weight.detach().clone()))
        return self._kept[1]

    def _built(self, weight: Tensor) -> Tensor:
        return self._block.pull_back(self._rows, self._angles(weight.to(self.dtype)))

    def _checked_weight(self, weight: nn.Parameter | None) -> nn.Parameter:
        if weight is None:
            start = torch.empty(self.qnn.num_weights, dtype=self.dtype).uniform_(-torch.pi, torch.pi)
            return nn.Parameter(start.to(self.device))
        if weight.shape != (self.qnn.num_weights,):
            raise ValueError(f"weight has shape {tuple(weight.shape)}; this circuit has {self.qnn.num_weights} weights")
        return weight


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
