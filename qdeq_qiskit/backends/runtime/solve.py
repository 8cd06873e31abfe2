"""One solve in a ledger: what was pinned at its beginning, its requests with their outcomes, its jobs."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import numpy as np

from qdeq_qiskit.backends.runtime.errors import LedgerError
from qdeq_qiskit.backends.runtime.fingerprint import fingerprint
from qdeq_qiskit.backends.runtime.job import JobOutcome, JobRequest, JobState, Processor
from qdeq_qiskit.backends.runtime.job_row import SUBMITTING, JobRow
from qdeq_qiskit.backends.runtime.stored_arrays import npy, npz, read_npy, read_npz

if TYPE_CHECKING:
    from qdeq_qiskit.backends.runtime.dispatch import Dispatcher
    from qdeq_qiskit.backends.runtime.ledger import Ledger
    from qdeq_qiskit.backends.runtime.qpu_time import Budget
    from qdeq_qiskit.backends.runtime.surroundings import Progress

_ANGLES = 1e-8  # by how much the rows of a request may differ from those that were recorded


@final
class Solve:
    """A solve; made by `Ledger.begin` and found by `Ledger.solves`."""

    def __init__(self, ledger: Ledger, solve_id: int) -> None:
        self.id = solve_id
        self._ledger = ledger

    @property
    def kind(self) -> str:
        """What kind of work it is."""
        return self._get("kind")

    @property
    def settings(self) -> dict[str, Any]:
        """What it depends on, as it was pinned."""
        return self._json("settings")

    @property
    def calibration(self) -> str:
        """The processor's calibration that its circuits are compiled for."""
        return self._get("calibration")

    @property
    def processor(self) -> str:
        """The processor's name."""
        return self._get("processor")

    @property
    def session_id(self) -> str | None:
        """The session at the service that its jobs belong to, if any."""
        return self._get("session_id")

    @property
    def state(self) -> str:
        """`open`, `finished` or `cancelled`."""
        return self._get("state")

    @property
    def predicted(self) -> dict[str, Any]:
        """What it was expected to take."""
        return self._json("predicted")

    @property
    def result(self) -> dict[str, Any] | None:
        """What came of it; None until it is finished."""
        return None if self._get("result") is None else self._json("result")

    @property
    def created(self) -> float:
        """When it began, in seconds since 1970."""
        return self._get("created")

    @property
    def spent_seconds(self) -> float:
        """Seconds of the processor so far: used where that is known, else predicted."""
        used = (row.predicted_seconds if row.qpu_seconds is None else row.qpu_seconds for row in self.jobs())
        return float(sum(used))

    def keep_session(self, session_id: str | None) -> None:
        """Write down which session its jobs belong to."""
        self._set("session_id", session_id)

    def finish(self, result: dict[str, Any]) -> None:
        """Write down what came of it; plain values, as in JSON."""
        with self._ledger.transaction():
            self._set("result", json.dumps(result))
            self._set("state", "finished")

    def close(self) -> None:
        """Give it up: its state is `cancelled` from here on."""
        self._set("state", "cancelled")

    def dispatcher(
        self,
        processor: Processor,
        *,
        budget: Budget | None = None,
        wait: bool = True,
        progress: Progress | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> Dispatcher:
        """Who answers the requests of one run of the solve, from the first one on."""
        from qdeq_qiskit.backends.runtime.dispatch import Dispatcher

        return Dispatcher(self, processor, budget=budget, wait=wait, progress=progress, sleep=sleep)

    def cancel(self, processor: Processor, *, sleep: Callable[[float], None] = time.sleep) -> list[str]:
        """Cancel what waits or runs at the service, and give the solve up; returns the ids of jobs that were cancelled.

        What is finished stays in the ledger.
        """
        from qdeq_qiskit.backends.runtime.cancellation import cancel_jobs

        cancelled = cancel_jobs(self, processor, sleep=sleep)
        self.close()
        return cancelled

    @property
    def has_pending_jobs(self) -> bool:
        """Whether a job may still wait or run at the service."""
        return any(row.is_pending for row in self.jobs())

    def refresh_usage(self, processor: Processor, *, sleep: Callable[[float], None] = time.sleep) -> None:
        """Ask what is charged for jobs that are done, where that was not known yet.

        It is for people to read: a request stays charged to a budget as it was, or a replay would decide otherwise. So
        what cannot be had now is left out, with a warning.
        """
        from qdeq_qiskit.backends.runtime.usage import refresh_usage

        refresh_usage(self, processor, sleep=sleep)

    @property
    def lacks_usage(self) -> bool:
        """Whether a job is done, but not known what it is charged with."""
        return any(row.state == JobState.DONE and row.qpu_seconds is None and row.job_id for row in self.jobs())

    def jobs(self) -> list[JobRow]:
        """Its jobs, in the order of requests and attempts."""
        return self._ledger.jobs(self.id)

    def check(self, number: int, request: JobRequest) -> None:
        """Raises LedgerError if another request was recorded under the number."""
        row = self._ledger.one("SELECT fingerprint, rows FROM requests WHERE solve=? AND number=?", self.id, number)
        if row is None:
            return
        recorded, rows = row[0], read_npy(row[1], self._where(number))
        same = recorded == fingerprint(request)
        if not same or rows.shape != request.rows.shape or not np.allclose(rows, request.rows, rtol=0, atol=_ANGLES):
            difference = "the angles" if same else "circuit, observables, shots, options or seed"
            raise LedgerError(
                f"{self._where(number)}: what is asked for now is not what was recorded ({difference} differ), "
                "so the recorded outcomes cannot be used; put model, data and package back as they were, or begin a "
                "new solve with `qdeq submit`"
            )

    def answer(self, number: int) -> tuple[JobOutcome, float] | None:
        """The stored outcome of a request and the seconds that it is charged with; None if there is none."""
        row = self._ledger.one(
            "SELECT outcome, qpu_seconds, charged_seconds FROM requests WHERE solve=? AND number=?", self.id, number
        )
        if row is None or row[0] is None:
            return None
        return JobOutcome(read_npz(row[0], self._where(number)), row[1]), row[2]

    def attempts(self, number: int) -> list[JobRow]:
        """The attempts at a request, in their order."""
        return self._ledger.jobs(self.id, number)

    def has_job(self, job_id: str) -> bool:
        """Whether a job of that id is written down, for this solve or another one."""
        return self._ledger.one("SELECT 1 FROM jobs WHERE job_id=?", job_id) is not None

    def write_attempt(self, number: int, request: JobRequest, predicted: float) -> JobRow:
        """Write down a new attempt with a tag of its own, and the request if it is the first one."""
        with self._ledger.transaction():
            attempt = len(self.attempts(number))
            if not attempt:
                values = (self.id, number, fingerprint(request), npy(request.rows))
                self._ledger.execute("INSERT INTO requests(solve, number, fingerprint, rows) VALUES (?,?,?,?)", *values)
            row = JobRow(
                solve=self.id,
                number=number,
                attempt=attempt,
                tag=f"qdeq-{uuid.uuid4().hex}",
                job_id=None,
                state=SUBMITTING,
                reason=None,
                submitted=time.time(),
                rows=len(request.rows),
                circuits=request.circuits,
                executions=request.executions,
                predicted_seconds=predicted,
                qpu_seconds=None,
            )
            self._ledger.insert_job(row)
        return row

    def update_job(self, row: JobRow, **changes: Any) -> JobRow:
        """Write down what changed of a job: `job_id`, `state`, `reason`, `qpu_seconds`."""
        return self._ledger.update_job(row, changes)

    def store(self, row: JobRow, outcome: JobOutcome, charged: float) -> JobRow:
        """Write down a job's outcome, for good."""
        with self._ledger.transaction():
            self._ledger.execute(
                "UPDATE requests SET outcome=?, qpu_seconds=?, charged_seconds=? WHERE solve=? AND number=?",
                npz(outcome.arrays),
                outcome.qpu_seconds,
                charged,
                self.id,
                row.number,
            )
            return self.update_job(row, state=JobState.DONE.value, reason=None, qpu_seconds=outcome.qpu_seconds)

    def _get(self, column: str) -> Any:
        row = self._ledger.one(f"SELECT {column} FROM solves WHERE id=?", self.id)
        if row is None:
            raise LedgerError(f"{self._ledger.name}: there is no solve {self.id}")
        return row[0]

    def _set(self, column: str, value: Any) -> None:
        self._ledger.execute(f"UPDATE solves SET {column}=? WHERE id=?", value, self.id)

    @property
    def where(self) -> str:
        """What messages call it."""
        return f"{self._ledger.name}, solve {self.id}"

    def _json(self, column: str) -> dict[str, Any]:
        try:
            found = json.loads(self._get(column))
        except (ValueError, TypeError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise LedgerError(
                f"{self.where}: the {column} that are written down there are damaged; put back a copy of it"
            )
        return found

    def _where(self, number: int) -> str:
        return f"{self.where}, request {number}"
