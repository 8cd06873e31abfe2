"""One measured figure, and what it is held against."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .timing import Timing


@dataclass(frozen=True)
class Row:
    """A figure with its target.

    Attributes:
        name: short and unique; what `--only` selects by.
        what: the case in words.
        figure: the measured number; None if it could not be measured, and `note` says why.
        unit: of figure, target and peer.
        target: what it should reach; None where there is no target.
        better: whether the figure should be at most or at least the target.
        peer: the figure of the other software that the ratio compares with, if any.
        peer_name: which software, and whether it was measured in this run.
        ratio: how many times better than the peer; a row that *is* a ratio has the peer's name alone.
        note: how it was measured.
        details: everything else for the JSON file.
    """

    name: str
    what: str
    figure: float | None
    unit: str
    target: float | None = None
    better: Literal["lower", "higher"] = "lower"
    peer: float | None = None
    peer_name: str = ""
    note: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """How many times better than the peer."""
        if self.figure is None or self.peer is None:
            return None
        return self.peer / self.figure if self.better == "lower" else self.figure / self.peer

    @property
    def verdict(self) -> Literal["met", "missed", "not measured", ""]:
        """Whether the figure reaches its target; empty where there is none."""
        if self.figure is None:
            return "not measured"
        if self.target is None:
            return ""
        reached = self.figure <= self.target if self.better == "lower" else self.figure >= self.target
        return "met" if reached else "missed"

    def record(self) -> dict[str, Any]:
        """For the JSON file."""
        return {**asdict(self), "ratio": self.ratio, "verdict": self.verdict}


def timed_row(name: str, what: str, timing: Timing, *, target: float | None, **rest: Any) -> Row:
    """A row whose figure is the median of a timing, in milliseconds."""
    details = {**rest.pop("details", {}), "timing": timing.summary()}
    return Row(name, what, timing.median, "ms", target, details=details, **rest)
