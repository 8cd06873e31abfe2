"""Which of the exact ways for product-state encoders is cheapest for one call.

They are counted in floating-point operations, the leading ones alone; each takes about 50 of them a nanosecond on one
core. The count decides, never the clock, so that the same call is always evaluated the same way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qdeq_qiskit.backends.cut import Cut

Way = Literal["operators", "states", "cut"]
"""Operators once per weights; every sample's state each time; or states up to a cut, and operators from there on."""

FEWEST_QUBITS = 6
"""With fewer, operators take 0.1 ms to build, and calls into torch are what costs: there are fewer of them that way."""

# Products W† O_k W, 8 K·8ⁿ, Pauli coefficients by halves, 16 K·8ⁿ, and two thirds more for what is moved about.
_PER_OPERATOR_ENTRY = 40
# Real parts from two sets of Gram matrices, whatever the number of observables on single wires.
_PER_REAL_ENTRY = 16
# A Jacobian by operators contracts them from both sides, and then goes on in both halves.
_OPERATOR_JACOBIAN = 3.2
# The wires' states, their product and the contraction of each χ_k with them, beside the products with W's factors:
# measured as a multiple of these, for they are bound by memory.
_STATE_VALUE = 2.0
_STATE_JACOBIAN = 1.4
# Matrices of a sample's own are small, and bound by memory too.
_CUT_OPERATION = 4.0
# A backward pass takes twice its forward pass.
_WITH_GRADIENT = 3


@dataclass(frozen=True)
class _Calls:
    """What calls into torch take, however few the samples, in the operations that could be done meanwhile."""

    build: float
    value: float
    jacobian: float


_OPERATOR_CALLS = _Calls(build=1e7, value=5e6, jacobian=1.4e7)
_STATE_CALLS = _Calls(build=7e6, value=6e6, jacobian=2.2e7)
_CUT_CALLS = _Calls(build=7e6, value=1.7e7, jacobian=3.2e7)  # the first for each group and light cone


@dataclass(frozen=True)
class Planned:
    """How often a map will be evaluated, as far as is known when it is made.

    Attributes:
        values: evaluations of q alone.
        jacobians: evaluations of q with its Jacobian.
    """

    values: int = 0
    jacobians: int = 0


ONE_VALUE = Planned(values=1)
ONE_JACOBIAN = Planned(jacobians=1)
SOLVE = Planned(jacobians=8)
"""Newton's method takes 5 to 8 to a relative residual of 1e-4; other methods take more evaluations without any."""


@dataclass(frozen=True)
class ProductChoice:
    """Compares the ways for one circuit.

    Attributes:
        num_qubits: n, those that the encoder moves.
        num_outputs: K.
        factor_rows: multiplications of one amplitude when W is applied by its factors; 2ⁿ for W itself.
        width: qubits that W acts on, of which the encoder leaves some at |0⟩; n if None.
        real: whether the states are real, with three coordinates a wire.
        cut: where W may be cut; None if it may not be.
        operators: whether operators may be built.
    """

    num_qubits: int
    num_outputs: int
    factor_rows: int
    width: int | None = None
    real: bool = False
    cut: Cut | None = None
    operators: bool = True

    def way(self, samples: int, planned: Planned, *, gradient: bool) -> Way:
        """The cheapest way.

        Args:
            samples: B.
            planned: what will be asked of the map.
            gradient: whether gradients of the weights will be wanted as well; then the last evaluation has them.
        """
        if self.num_qubits < FEWEST_QUBITS and self.operators:
            return "operators"
        more = _WITH_GRADIENT - 1 if gradient else 0
        values = planned.values if planned.jacobians else planned.values + more
        jacobians = planned.jacobians + more if planned.jacobians else 0
        costs: dict[Way, float] = {"states": self._states(samples, values, jacobians, 1 + more)}
        if self.operators:
            costs["operators"] = self._operators(samples, values, jacobians, 1 + more)
        if self.cut is not None:
            costs["cut"] = self._cut(self.cut, samples, values, jacobians, 1 + more)
        return min(costs, key=costs.__getitem__)

    def _operators(self, samples: int, values: int, jacobians: int, builds: int) -> float:
        contractions = values + _OPERATOR_JACOBIAN * jacobians
        coordinates = 3 if self.real else 4
        evaluated = 2 * self.num_outputs * coordinates**self.num_qubits * contractions * samples
        if self.real:
            built = _PER_REAL_ENTRY * 2 ** (self.width or self.num_qubits) * 4**self.num_qubits * builds
        else:
            built = _PER_OPERATOR_ENTRY * self.num_outputs * 2 ** (self.width or self.num_qubits) * 4**self.num_qubits
            built *= builds
        return built + evaluated + _calls(_OPERATOR_CALLS, values, jacobians, builds)

    def _states(self, samples: int, values: int, jacobians: int, builds: int) -> float:
        applications = _STATE_VALUE * (values + _STATE_JACOBIAN * (self.num_outputs + 1) * jacobians)
        evaluated = 8 * self.factor_rows * 2 ** (self.width or self.num_qubits) * applications * samples
        return evaluated + _calls(_STATE_CALLS, values, jacobians, builds)

    def _cut(self, cut: Cut, samples: int, values: int, jacobians: int, builds: int) -> float:
        pieces = len(cut.cones) + sum(bool(group.slots) for group in cut.groups)
        evaluated = (cut.value * values + cut.jacobian * jacobians) * samples
        return _CUT_OPERATION * (cut.build * builds + evaluated) + _calls(
            _CUT_CALLS, values, jacobians, pieces * builds
        )


def _calls(each: _Calls, values: int, jacobians: int, builds: int) -> float:
    return each.build * builds + each.value * values + each.jacobian * jacobians
