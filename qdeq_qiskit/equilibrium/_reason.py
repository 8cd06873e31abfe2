"""Why the search for a sample's fixed point ended."""

from __future__ import annotations

from enum import IntEnum


class Reason(IntEnum):
    """Why the search for a sample's fixed point ended; `str(reason)` says what can be done about it.

    The integer values are the codes in `Solution.reason`.
    """

    sentence: str

    def __new__(cls, code: int, sentence: str) -> Reason:
        member = int.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member

    CONVERGED = 0, "The relative residual is within the tolerance; nothing needs to be done."
    MAX_ITERATIONS = (
        1,
        "The iterations ran out before the relative residual reached the tolerance; the best iterate is returned. "
        "Raise max_iterations, loosen the tolerance (above the noise, where f is sampled), use a more robust solver "
        "(Newton is the most), or train with a Jacobian penalty.",
    )
    DIVERGED = (
        2,
        "The iterates became infinite or NaN; the best finite one is returned. "
        "Use a damped solver such as Krasnoselskii-Mann, or Newton with smaller pseudo_steps, or another start w0.",
    )
    NOT_FINITE = (
        3,
        "The layer gave no finite value even at the starting point, which is returned. "
        "Look for NaN or infinite entries in this sample's features, in w0 and in the weights.",
    )
    NOT_SOUGHT = (
        4,
        "No fixed point was sought, the layer was applied a fixed number of times. "
        "Use mode='implicit', or wait for the end of the warm-up, if an equilibrium is wanted.",
    )
    WITHIN_NOISE = (
        5,
        "The residual cannot be told from the noise of its shots, and the fixed point was estimated with its "
        "covariance (to the precision asked for, if any); nothing needs to be done.",
    )
    BUDGET = (
        6,
        "The budget was spent, the sample's of shots or the whole solve's of time on a processor, before the fixed "
        "point was known as precisely as asked for; what was found is returned, with its wider interval if it has one. "
        "Raise max_shots or max_qpu_seconds, or ask for less precision.",
    )
    UNDETERMINED = (
        7,
        "The shots determine no fixed point: with the Jacobian that was measured, the interval would be far wider than "
        "any state; the best iterate is returned, without an interval. Raise the shots of the Jacobian "
        "(jacobian_shots) or of the estimate (estimate, or the backend's shots), and max_shots if there is one.",
    )

    def __str__(self) -> str:
        return self.sentence


SUCCESSES = (Reason.CONVERGED, Reason.WITHIN_NOISE)
"""The reasons of samples that are counted as converged."""
