"""One entry of the comparison: a peer doing one thing once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..timing import Timing
from .peer import Operation, Peer, Precision
from .problem import Encoding


@dataclass(frozen=True)
class Contest:
    """What is done: all peers do it side by side."""

    encoding: Encoding
    qubits: int
    batch: int
    operation: Operation

    @property
    def words(self) -> str:
        """For a message."""
        return f"{self.operation}, {self.encoding} encoding, {self.qubits} qubits, batch {self.batch}"


@dataclass(frozen=True)
class Cell:
    """A measurement, or why there is none.

    Attributes:
        contest: what was done.
        peer: its name.
        ours: whether it is of this library.
        precision: of the computation.
        timing: None if it was not measured.
        reason: why not; empty if it was.
        estimate_ms: where it would take too long, what a smaller batch makes us expect, in proportion; else None.
        difference: to ours in double precision, relative; None if it was not compared.
        penalised: whether the step has the Jacobian penalty.
    """

    contest: Contest
    peer: str
    ours: bool
    precision: Precision
    timing: Timing | None = None
    reason: str = ""
    estimate_ms: float | None = None
    difference: float | None = None
    penalised: bool = True

    @classmethod
    def without(
        cls, contest: Contest, peer: Peer, precision: Precision, reason: str, estimate_ms: float | None = None
    ) -> Cell:
        """One that is not measured."""
        return cls(contest, peer.name, peer.ours, precision, None, reason, estimate_ms, None, peer.penalised)

    def record(self) -> dict[str, Any]:
        """For the JSON file."""
        return {
            "encoding": self.contest.encoding,
            "qubits": self.contest.qubits,
            "batch": self.contest.batch,
            "operation": self.contest.operation,
            "peer": self.peer,
            "ours": self.ours,
            "precision": self.precision,
            "ms": None if self.timing is None else self.timing.median,
            "timing": None if self.timing is None else self.timing.summary(),
            "reason": self.reason,
            "estimate_ms": self.estimate_ms,
            "difference": self.difference,
            "penalised": self.penalised,
        }
