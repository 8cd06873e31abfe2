"""Nothing is timed that does not compute the same numbers."""

from __future__ import annotations

from torch import Tensor


def assert_agreement(found: Tensor, expected: Tensor, *, tolerance: float, who: str) -> float:
    """The largest difference, relative to the largest expected number where that exceeds 1.

    Args:
        found: the peer's.
        expected: ours, in double precision.
        tolerance: how large it may be.
        who: the peer, the operation and the problem, for the message.

    Raises:
        AssertionError: the two differ by more, in shape, or something is not finite.
    """
    if found.shape != expected.shape:
        raise AssertionError(f"{who}: shape {tuple(found.shape)}, ours {tuple(expected.shape)}")
    scale = max(1.0, float(expected.abs().max()))
    difference = float((found.double() - expected).abs().max()) / scale
    if not difference <= tolerance:  # NaN compares as false
        raise AssertionError(f"{who}: differs from ours by {difference:.1e}, tolerance {tolerance:.0e}")
    return difference
