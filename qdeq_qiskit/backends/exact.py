"""The exact layer: features to expectation values, by the Heisenberg route wherever the circuit allows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from qdeq_qiskit.backends.amplitude import AmplitudeAngles, AmplitudeState
from qdeq_qiskit.backends.analysis import Factorisation, factorise
from qdeq_qiskit.backends.engines import Engine, make_engine
from qdeq_qiskit.backends.evolution import complex_dtype, evolve
from qdeq_qiskit.backends.maps import BlochEncoder, LiftedMap, ProductMap, QuadraticMap, pauli_coefficients
from qdeq_qiskit.backends.operator_layer import OperatorLayer
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost

_log = logging.getLogger(__name__)


@final
class ExactLayer(OperatorLayer):
    """q(v; θ) of a QNN circuit, noiseless and without shots; differentiable in v and θ to every order.

    The weights are frozen during a solve, so the weight block and the observables are one operator each,
    M_k(θ) = W(θ)† O_k W(θ): built once per call (or fetched, if the weights are still the same), then evaluated in
    closed form for every sample and every iteration. A circuit that does not factor so is evolved sample by sample,
    which a log line says once.

    Args:
        qnn: circuit, inputs, weights and observables.
        engine: "auto", "torch" or "aer": what computes the weight block.
        device: "cpu" or "cuda".
        precision: "single" or "double".
        weight: the weights, (P,), to share with another layer; if None they start uniform in (−π, π), drawn from
            torch's generator.

    Attributes:
        qnn: the circuit.
        weight: θ, (P,).
        parts: how the circuit was split.
        engine: what computes the weight block's columns.
        readout: the observables.

    Raises:
        TypeError: a bare circuit.
        ValueError: an unknown engine or precision, a weight of another shape, or a GPU that is not there.
        ImportError: the Aer engine without Aer.
    """

    def __init__(
        self,
        qnn: QNNCircuit,
        *,
        engine: str = "auto",
        device: str | torch.device = "cpu",
        precision: str = "single",
        weight: nn.Parameter | None = None,
    ) -> None:
        if not isinstance(qnn, QNNCircuit):
            raise TypeError(
                f"ExactLayer takes a QNNCircuit, which says what is input, weight and observable, not a "
                f"{type(qnn).__name__}; wrap it: QNNCircuit(circuit, inputs, weights, observables)"
            )
        parts = factorise(qnn.circuit, qnn.input_parameters, qnn.weight_parameters)
        columns = _num_columns(qnn, parts)
        built = make_engine(engine, parts.suffix, num_columns=columns, device=device, precision=precision)
        super().__init__(qnn, device=built.device, dtype=built.dtype, weight=weight)
        self.parts, self.engine = parts, built
        self.readout = Readout(qnn.observables)
        self._angles = parts.suffix.angle_map.compile()
        self._map = _map_factory(qnn, parts, self.readout, built)
        if self.parts.kind == "general":
            _log.warning("%s", self.explanation)

    @property
    def explanation(self) -> str:
        """How the circuit is evaluated, in one sentence."""
        if self.parts.kind == "general" and self.engine.name != "torch":
            return f"{self.parts.explanation}; that is done in torch, not by {self.engine.name.capitalize()}"
        return self.parts.explanation

    @property
    def engine_name(self) -> str:
        """What computes the weight block; torch where there is none, all of the circuit being evolved."""
        return self.engine.name if self.parts.suffix.operations else "torch"

    def build(self, weight: Tensor) -> Tensor:
        """What the weight block and the observables amount to at some weights, (P,).

        Returns:
            Re M_k, (K, d, d), for amplitude encoders; Pauli coefficients of M_k, (K, 4ⁿ), for product states; W itself,
            (2ⁿ, 2ⁿ), complex, for others (one column, not used, where there is no weight block).
        """
        columns = self.engine.columns(self._angles(weight.to(self.dtype)))
        if self.parts.kind == "amplitude":
            return self.readout.real_operators(columns)
        if self.parts.kind == "product":
            return pauli_coefficients(self.readout.hermitian_operators(columns))
        return columns

    def map_of(self, operators: Tensor, weight: Tensor, x: Tensor, lift: Tensor) -> FixedPointMap:
        return self._map(operators, weight, x, lift)


_MapFactory = Callable[[Tensor, Tensor, Tensor, Tensor], FixedPointMap]
"""(operators, weight, x, lift) → the map of a batch."""


def _num_columns(qnn: QNNCircuit, parts: Factorisation) -> int:
    """The basis states that features can reach, d."""
    if not parts.suffix.operations and parts.kind == "general":
        return 1  # nothing to be built: the states are evolved through the whole circuit
    if parts.kind == "amplitude" and qnn.num_amplitudes is not None:
        return qnn.num_amplitudes
    return parts.num_columns


def _map_factory(qnn: QNNCircuit, parts: Factorisation, readout: Readout, engine: Engine) -> _MapFactory:
    shifts = sum(operation.num_shifts for operation in parts.prefix.slots)
    angle_cost = MapCost(readout.num_bases, shifts * readout.num_bases)
    if parts.kind == "product":
        encoder = BlochEncoder.of(parts.prefix, qnn.num_inputs, device=engine.device, dtype=engine.dtype)
        return _ProductMaps(encoder, angle_cost)
    if parts.kind == "amplitude" and qnn.num_amplitudes is not None:
        return _QuadraticMaps(readout.num_bases)
    function = _QuadraticInAngles(parts) if parts.kind == "amplitude" else _Evolution(qnn, parts, readout)
    return _LiftedMaps(function, angle_cost)


# Classes in place of closures, so that layers can be pickled.


@dataclass(frozen=True, eq=False)
class _ProductMaps:
    encoder: BlochEncoder
    cost: MapCost

    def __call__(self, operators: Tensor, weight: Tensor, x: Tensor, lift: Tensor) -> FixedPointMap:
        return ProductMap(operators, x, lift, self.encoder, self.cost)


@dataclass(frozen=True, eq=False)
class _QuadraticMaps:
    num_bases: int

    def __call__(self, operators: Tensor, weight: Tensor, x: Tensor, lift: Tensor) -> FixedPointMap:
        # Without encoder noise ‖v‖² q(v) is quadratic: two circuits a direction give its exact derivative.
        return QuadraticMap(operators, x, lift, MapCost(self.num_bases, 2 * lift.shape[1] * self.num_bases))


@dataclass(frozen=True, eq=False)
class _LiftedMaps:
    function: _Function
    cost: MapCost

    def __call__(self, operators: Tensor, weight: Tensor, x: Tensor, lift: Tensor) -> FixedPointMap:
        return LiftedMap(self.function, x, (operators, weight), lift, self.cost)


_Function = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(features, operators, weight) → q."""


class _QuadraticInAngles:
    """Gate angles of the amplitude tree as features, as a circuit given without `num_amplitudes` has them."""

    def __init__(self, parts: Factorisation) -> None:
        self._state = AmplitudeState(parts.num_columns.bit_length() - 1)

    def __call__(self, angles: Tensor, operators: Tensor, weight: Tensor) -> Tensor:
        amplitudes = self._state.to(angles.device)(angles)
        applied = (amplitudes @ operators.flatten(0, 1).T).unflatten(-1, operators.shape[:2])
        return (applied * amplitudes.unsqueeze(-2)).sum(-1)


class _Evolution:
    """Every sample's state through the prefix, then W at once for all."""

    def __init__(self, qnn: QNNCircuit, parts: Factorisation, readout: Readout) -> None:
        self._prefix, self._readout = parts.prefix, readout
        self._angles = parts.prefix.angle_map.compile()
        self._inputs = AmplitudeAngles(qnn.num_amplitudes) if qnn.num_amplitudes is not None else nn.Identity()
        self._size = 2**qnn.num_qubits
        self._has_suffix = bool(parts.suffix.operations)

    def __call__(self, features: Tensor, operators: Tensor, weight: Tensor) -> Tensor:
        inputs = self._inputs.to(features.device)(features)
        angles = self._angles(torch.cat((inputs, weight.to(inputs).expand(len(inputs), -1)), dim=-1))
        start = torch.zeros(len(features), self._size, dtype=complex_dtype(features.dtype), device=features.device)
        start[:, 0] = 1
        states = evolve(self._prefix, angles, start)
        return self._readout.expectations(states @ operators.T if self._has_suffix else states)
