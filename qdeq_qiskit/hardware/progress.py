"""What the terminal shows while jobs wait and run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from rich.console import Console
from rich.status import Status

from qdeq_qiskit.backends.runtime.job import JobState
from qdeq_qiskit.backends.runtime.solve import JobRow


@final
class JobProgress:
    """On a terminal one line that moves; elsewhere a line for each job that has ended.

    Args:
        console: where.
        predicted_seconds: of the processor, for all jobs; None if not known.
    """

    def __init__(self, console: Console, predicted_seconds: float | None = None) -> None:
        self._console, self._predicted = console, predicted_seconds
        self._status: Status | None = None
        self._done: dict[str, float] = {}
        self._states: dict[str, str] = {}

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the line meanwhile."""
        if not self._console.is_terminal:
            yield
            return
        with self._console.status("compiling and reading the ledger") as self._status:
            yield

    def __call__(self, row: JobRow) -> None:
        """A job's state has changed."""
        if row.state == JobState.DONE.value:
            self._done[row.tag] = row.predicted_seconds
        if self._status is not None:
            self._status.update(self._line(row))
        elif self._states.get(row.tag) != row.state and row.state in _ENDS:
            self._console.print(_ended(row), highlight=False, soft_wrap=True, markup=False)
        self._states[row.tag] = row.state

    def _line(self, row: JobRow) -> str:
        total = "" if self._predicted is None else f" of about {self._predicted:,.0f}"
        spent = f"{sum(self._done.values()):,.0f}{total} s of the processor by the formula"
        name = "" if row.job_id is None else f" ({row.job_id})"
        return f"{len(self._done)} jobs done, {spent}; job {row.number}{name}: {row.state}"


def _ended(row: JobRow) -> str:
    reason = "" if row.reason is None else f": {row.reason}"
    return f"job {row.number} ({row.job_id}): {row.state}, {row.circuits:,} circuit{'s' * (row.circuits != 1)}{reason}"


_ENDS = (JobState.DONE.value, JobState.FAILED.value, JobState.CANCELLED.value, "unreadable")
