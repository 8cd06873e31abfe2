"""How large a circuit a recipe may ask for: what is beyond cannot be meant, and would take minutes to be built."""

from __future__ import annotations

MAX_QUBITS = 256
MAX_AMPLITUDES = 2**14
MAX_GATES = 100_000


def check_gates(what: str, count: int, remedy: str) -> None:
    """Raises ValueError for a part of a circuit with too many gates, before any of them is made.

    Args:
        what: the part, such as `real_amplitudes`.
        count: about how many gates it has.
        remedy: what to change, such as `reps`.
    """
    if count > MAX_GATES:
        raise ValueError(f"{what} would have about {count:.3g} gates, expected at most {MAX_GATES:,}; {remedy}")
