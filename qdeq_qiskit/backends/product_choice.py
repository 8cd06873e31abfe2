"""Which of the two exact ways for product-state encoders is cheaper: operators once per weights, or states each time.

Both are counted in floating-point operations, the leading ones alone; each takes about 50 of them a nanosecond on one
core. The count decides, never the clock, so that the same call is always evaluated the same way.
"""

from __future__ import annotations

from dataclasses import dataclass

FEWEST_QUBITS = 6
"""With fewer, operators take 0.1 ms to build, and calls into torch are what costs: there are fewer of them that way."""

# Products W† O_k W, 8 K·8ⁿ, Pauli coefficients by halves, 16 K·8ⁿ, and two thirds more for what is moved about.
_PER_OPERATOR_ENTRY = 40
# A Jacobian by operators contracts them from both sides, and then goes on in both halves.
_OPERATOR_JACOBIAN = 3.2
# The wires' states, their product and the contraction of each χ_k with them, beside the products with W's factors:
# measured as a multiple of these, for they are bound by memory.
_STATE_VALUE = 2.0
_STATE_JACOBIAN = 1.4
# A backward pass takes twice its forward pass.
_WITH_GRADIENT = 3


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
    """Compares the two ways for one circuit.

    Attributes:
        num_qubits: n.
        num_outputs: K.
        factor_rows: multiplications of one amplitude when W is applied by its factors; 2ⁿ for W itself.
    """

    num_qubits: int
    num_outputs: int
    factor_rows: int

    def takes_states(self, samples: int, planned: Planned, *, gradient: bool) -> bool:
        """Whether states are cheaper.

        Args:
            samples: B.
            planned: what will be asked of the map.
            gradient: whether gradients of the weights will be wanted as well; then the last evaluation has them.
        """
        if self.num_qubits < FEWEST_QUBITS:
            return False
        more = _WITH_GRADIENT - 1 if gradient else 0
        values = planned.values if planned.jacobians else planned.values + more
        jacobians = planned.jacobians + more if planned.jacobians else 0
        built = _PER_OPERATOR_ENTRY * self.num_outputs * 8**self.num_qubits * (1 + more)
        contractions = values + _OPERATOR_JACOBIAN * jacobians
        by_operators = built + 2 * self.num_outputs * 4**self.num_qubits * contractions * samples
        applications = _STATE_VALUE * (values + _STATE_JACOBIAN * (self.num_outputs + 1) * jacobians)
        by_states = 8 * self.factor_rows * 2**self.num_qubits * applications * samples
        return by_states < by_operators
