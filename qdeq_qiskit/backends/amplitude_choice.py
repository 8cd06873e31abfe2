"""Which of the two exact ways for amplitude encoders is cheaper: operators once per weights, or the batch's states.

Both are counted in floating-point operations, the leading ones alone; see `product_choice`, whose rules these are. How
often the map is evaluated does not matter: either way that is done by reduced forms, whose making is what is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

FEWEST_QUBITS = 7
"""With fewer, operators of the 64 amplitudes at most take less than the calls into torch."""

# Applying W moves as much memory as it multiplies: measured as a multiple of the products alone.
_STATE = 2.3


@dataclass(frozen=True)
class AmplitudeChoice:
    """Compares the two ways for one circuit.

    Attributes:
        num_qubits: n.
        num_outputs: K.
        num_features: d.
        operator_products: products of d columns of 2ⁿ real and 2ⁿ imaginary entries with themselves, of which all
            operators are made.
        column_multiplications: complex ones for the d columns of W.
        factor_rows: multiplications of one amplitude when W is applied by its factors.
    """

    num_qubits: int
    num_outputs: int
    num_features: int
    operator_products: int
    column_multiplications: int
    factor_rows: int

    def takes_states(self, samples: int, states: int) -> bool:
        """Whether states are cheaper; with a backward pass all that is counted takes three times as long.

        Args:
            samples: B.
            states: n, the columns of the lift; 0 if there is none.
        """
        if self.num_qubits < FEWEST_QUBITS:
            return False
        size, square = 2**self.num_qubits, self.num_features**2
        columns = 8 * self.column_multiplications
        built = columns + 4 * self.operator_products * size * square
        by_operators = built + 2 * (self.num_outputs + 1) * square * samples
        applied = _STATE * 8 * self.factor_rows * size * (samples + states + 1)
        by_states = applied + 4 * self.num_outputs * size * (states + 1) * samples
        return by_states < by_operators
