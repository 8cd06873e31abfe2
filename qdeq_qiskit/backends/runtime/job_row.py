"""A job as the ledger knows it, and the states that only the ledger has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from qdeq_qiskit.backends.runtime.job import JobState

SUBMITTING = "submitting"
"""A job whose tag is written down, but not whether the service took it."""

UNREADABLE = "unreadable"
"""A job that is done, but whose result could not be had."""

ENDED = frozenset({JobState.FAILED.value, JobState.CANCELLED.value})
"""States of an attempt that nothing will come of any more."""


@final
@dataclass(frozen=True)
class JobRow:
    """A job as the ledger knows it: one attempt at a request.

    Attributes:
        solve: whose.
        number: of the request within the solve, from 0.
        attempt: from 0; more than one where a job failed.
        tag: on the job at the service, unique.
        job_id: of the service; None until it is acknowledged.
        state: a `JobState`, `submitting` or `unreadable`.
        reason: why it failed, if it did.
        submitted: when its tag was written down, in seconds since 1970.
        rows: of angles.
        circuits: calibrations included.
        executions: shots over all circuits.
        predicted_seconds: of the processor, by the formula.
        qpu_seconds: what was charged; None if that is not known.
    """

    solve: int
    number: int
    attempt: int
    tag: str
    job_id: str | None
    state: str
    reason: str | None
    submitted: float
    rows: int
    circuits: int
    executions: int
    predicted_seconds: float
    qpu_seconds: float | None

    @property
    def is_pending(self) -> bool:
        """Whether it may still wait or run at the service."""
        return self.state in (SUBMITTING, JobState.QUEUED, JobState.RUNNING)
