"""The exact layer: features to expectation values, by the Heisenberg route wherever the circuit allows it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor, nn

from qdeq_qiskit.backends.amplitude import AmplitudeAngles, AmplitudeState
from qdeq_qiskit.backends.amplitude_choice import AmplitudeChoice
from qdeq_qiskit.backends.analysis import DENSE_LIMIT, Factorisation, factorise
from qdeq_qiskit.backends.engines import Engine, make_engine, resolve_engine
from qdeq_qiskit.backends.evolution import complex_dtype, evolve
from qdeq_qiskit.backends.maps import AmplitudeStates, AmplitudeStatesMap, LiftedMap, QuadraticMap
from qdeq_qiskit.backends.maps.parts import in_parts
from qdeq_qiskit.backends.maps.product_state import MOST_AMPLITUDES, MOST_RECORDED
from qdeq_qiskit.backends.operator_layer import OperatorLayer
from qdeq_qiskit.backends.product_choice import ONE_JACOBIAN, ONE_VALUE, SOLVE, Way
from qdeq_qiskit.backends.product_form import product_form
from qdeq_qiskit.backends.product_ways import ProductWays
from qdeq_qiskit.backends.readout import Readout, is_diagonal
from qdeq_qiskit.backends.trailing import split_trailing
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost

_log = logging.getLogger(__name__)


@final
class ExactLayer(OperatorLayer):
    """q(v; θ) of a QNN circuit, noiseless and without shots; differentiable in v and θ to every order.

    The weights are frozen during a solve, so the weight block and the observables are one operator each,
    M_k(θ) = W(θ)† O_k W(θ): built once per call (or fetched, if the weights are still the same), then evaluated in
    closed form for every sample and every iteration. Product states, where that is cheaper, are evaluated one by one
    instead, through all of the weight block or part of it. A circuit that does not factor so is evolved sample by
    sample, gate by gate, which a log line says once.

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
        parts: how the circuit was split; of a product-state encoder in its simplest form.
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
        asked = resolve_engine(engine)
        parts = given = factorise(
            qnn.circuit,
            qnn.input_parameters,
            qnn.weight_parameters,
            wide_products=True,
            wide_amplitudes=qnn.num_amplitudes is not None,
        )
        by_factors = asked == "torch"
        observables, form = qnn.observables, None
        if parts.kind == "product":
            form = product_form(parts, observables)
            parts, observables = form.parts, form.observables
        # Aer gives all columns of the weight block at once: where these are too many it is given the states instead.
        by_aer = asked == "aer" and _is_wide(parts)
        columns = 1 if by_aer else _num_columns(qnn, parts)
        takes_gates = by_factors and is_diagonal(observables)  # Aer simulates all of them
        suffix, trailing = split_trailing(parts.suffix) if takes_gates else (parts.suffix, ())
        built = make_engine(asked, suffix, num_columns=columns, device=device, precision=precision)
        super().__init__(qnn, device=built.device, dtype=built.dtype, weight=weight)
        self.parts, self.engine = parts, built
        self.readout = Readout(observables, behind=trailing)
        self._angles = parts.suffix.angle_map.compile()
        cost = _angle_cost(given, self.readout)
        self._product: ProductWays | None = None
        self._choice: AmplitudeChoice | None = None
        if form is None:
            self._map = _map_factory(qnn, parts, self.readout, built, cost)
        else:
            self._product = ProductWays(form, qnn.num_features, readout=self.readout, engine=built, cost=cost)
        if parts.kind == "amplitude" and qnn.num_amplitudes is not None and by_factors and not _is_wide(parts):
            self._choice = _amplitude_choice(qnn.num_amplitudes, self.readout, built)
            self._states = _AmplitudeStatesMaps(AmplitudeStates(built, self.readout), self.readout.num_bases)
        self._announced = ""
        if by_aer:
            from qdeq_qiskit.backends.engines.aer_engine import AerEngine

            assert isinstance(built, AerEngine)
            self._announced = f". {built.announcement(min(256, max(1, MOST_AMPLITUDES // 2**qnn.num_qubits)))}"
        if self.parts.kind == "general" or self._announced:
            _log.warning("%s", self.explanation)

    @property
    def explanation(self) -> str:
        """How the circuit is evaluated, in one sentence."""
        if self.parts.kind == "general" and self.engine.name != "torch":
            return f"{self.parts.explanation}; that is done in torch, not by Aer"
        if self._choice is not None:
            return f"{self.parts.explanation}, or every sample's state through the weight block where that is cheaper"
        return (self.parts.explanation if self._product is None else self._product.explanation) + self._announced

    @property
    def engine_name(self) -> str:
        """What computes the weight block; torch where there is none, all of the circuit being evolved."""
        return self.engine.name if self.parts.suffix.operations else "torch"

    def build(self, weight: Tensor) -> Tensor:
        """What the weight block and the observables amount to at some weights, (P,).

        Returns:
            Re M_k, (K, d, d), for amplitude encoders; coefficients of M_k, (K, 4ᵐ) or (K, 3ᵐ), for product states on m
            wires, but where these are too many, factors of W, (F, D, D), complex; W itself, (2ⁿ, 2ⁿ), complex, for
            others (one column, not used, where there is no weight block).
        """
        angles = self._angles(weight.to(self.dtype))
        if self._product is not None:
            return self._product.build(self._product.usual, angles)
        if _is_wide(self.parts):
            return self.factors(weight)
        columns = self.engine.columns(angles)
        return self.readout.real_operators(columns) if self.parts.kind == "amplitude" else columns

    def map_of(self, operators: Tensor, weight: Tensor, x: Tensor, lift: Tensor) -> FixedPointMap:
        if self._product is not None:
            return self._product.map_of(self._product.usual, operators, x, lift)
        return self._map(operators, weight, x, lift)

    def bound(self, weight: Tensor, x: Tensor, lift: Tensor, *, values_only: bool = False) -> FixedPointMap:
        if self._choice is not None and self._choice.takes_states(len(x), lift.shape[1]):
            return self._states(self.built("factors", self.factors, weight), weight, x, lift)
        if self._product is None:
            return super().bound(weight, x, lift, values_only=values_only)
        planned = ONE_VALUE if values_only else SOLVE if lift.shape[1] else ONE_JACOBIAN
        way = self._product.way(len(x), planned, gradient=torch.is_grad_enabled() and weight.requires_grad)
        block = self.built(way, partial(self._product_block, way), weight)
        return self._product.map_of(way, block, x, lift)

    def _product_block(self, way: Way, weight: Tensor) -> Tensor:
        assert self._product is not None
        return self._product.build(way, self._angles(weight.to(self.dtype)))

    def factors(self, weight: Tensor) -> Tensor:
        """W at some weights, (P,), as matrices that the engine applies one after another, (F, D, D), complex."""
        return self.engine.factors(self._angles(weight.to(self.dtype)))


_MapFactory = Callable[[Tensor, Tensor, Tensor, Tensor], FixedPointMap]
"""(operators, weight, x, lift) → the map of a batch."""


def _num_columns(qnn: QNNCircuit, parts: Factorisation) -> int:
    """The basis states that features can reach, d."""
    if not parts.suffix.operations and parts.kind == "general":
        return 1  # nothing to be built: the states are evolved through the whole circuit
    if parts.kind == "amplitude" and qnn.num_amplitudes is not None:
        return qnn.num_amplitudes
    return parts.num_columns


def _map_factory(qnn: QNNCircuit, parts: Factorisation, readout: Readout, engine: Engine, cost: MapCost) -> _MapFactory:
    if _is_wide(parts):
        return _AmplitudeStatesMaps(AmplitudeStates(engine, readout), readout.num_bases)
    if parts.kind == "amplitude" and qnn.num_amplitudes is not None:
        return _QuadraticMaps(readout.num_bases)
    function = _QuadraticInAngles(parts) if parts.kind == "amplitude" else _Evolution(qnn, parts, readout)
    return _LiftedMaps(function, cost)


def _is_wide(parts: Factorisation) -> bool:
    """Whether it is an encoder whose states are sent through W one by one, as operators would be too large."""
    return parts.kind != "general" and parts.num_columns > DENSE_LIMIT


def _amplitude_choice(num_amplitudes: int, readout: Readout, engine: Engine) -> AmplitudeChoice:
    return AmplitudeChoice(
        num_qubits=engine.program.num_qubits,
        num_outputs=readout.num_outputs,
        num_features=num_amplitudes,
        operator_products=readout.operator_products,
        column_multiplications=engine.column_multiplications,
        factor_rows=engine.factor_rows,
    )


def _angle_cost(parts: Factorisation, readout: Readout) -> MapCost:
    shifts = sum(operation.num_shifts for operation in parts.prefix.slots)
    return MapCost(readout.num_bases, shifts * readout.num_bases)


# Classes in place of closures, so that layers can be pickled.


@dataclass(frozen=True, eq=False)
class _QuadraticMaps:
    num_bases: int

    def __call__(self, operators: Tensor, weight: Tensor, x: Tensor, lift: Tensor) -> FixedPointMap:
        return QuadraticMap(operators, x, lift, _amplitude_cost(self.num_bases, lift))


@dataclass(frozen=True, eq=False)
class _AmplitudeStatesMaps:
    states: AmplitudeStates
    num_bases: int

    def __call__(self, factors: Tensor, weight: Tensor, x: Tensor, lift: Tensor) -> FixedPointMap:
        return AmplitudeStatesMap(factors, x, lift, self.states, _amplitude_cost(self.num_bases, lift))


def _amplitude_cost(num_bases: int, lift: Tensor) -> MapCost:
    # Without encoder noise ‖v‖² q(v) is quadratic: two circuits a direction give its exact derivative.
    return MapCost(num_bases, 2 * lift.shape[1] * num_bases)


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
        # Autograd keeps some states for every gate: a large batch is evaluated part by part, and so differentiated.
        amplitudes = self._size * -(-len(self._prefix.operations) // 4)
        if len(features) * amplitudes <= MOST_RECORDED:
            return self._evaluate(features, operators, weight)[0]
        return in_parts(self._evaluate, features, (operators, weight), amplitudes=amplitudes)[0]

    def _evaluate(self, features: Tensor, operators: Tensor, weight: Tensor) -> tuple[Tensor]:
        inputs = self._inputs.to(features.device)(features)
        angles = self._angles(torch.cat((inputs, weight.to(inputs).expand(len(inputs), -1)), dim=-1))
        start = torch.zeros(len(features), self._size, dtype=complex_dtype(features.dtype), device=features.device)
        start[:, 0] = 1
        states = evolve(self._prefix, angles, start)
        return (self._readout.expectations(states @ operators.T if self._has_suffix else states),)
