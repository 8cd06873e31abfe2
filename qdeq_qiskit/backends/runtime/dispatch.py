"""From requests to outcomes, whatever happens in between: each request is answered once, and stays answered.

A tag is written to the ledger before a job is handed in with it, so a process that died in between asks the service
for that tag: the job that has it is taken, and only if there is none, it is handed in again. What comes out is stored
with what it cost in one transaction. A solve that is resumed makes the same requests again, in the same order; those
that are stored are answered at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import final

from qdeq_qiskit.backends.runtime.errors import StillRunning
from qdeq_qiskit.backends.runtime.job import JobOutcome, JobRequest, Processor
from qdeq_qiskit.backends.runtime.job_row import JobRow
from qdeq_qiskit.backends.runtime.pending_request import PendingRequest
from qdeq_qiskit.backends.runtime.qpu_time import Budget, QPUTime
from qdeq_qiskit.backends.runtime.solve import Solve
from qdeq_qiskit.backends.runtime.surroundings import Progress, Surroundings

_IN_FLIGHT = 3  # jobs that wait or run at a time; the open plan allows as many


@final
class Dispatcher:
    """Answers the requests of one run of a solve; made by `Solve.dispatcher`.

    Attributes:
        solve: whose requests they are.
        processor: who runs their jobs.
        budget: what they may take; charged request by request, in their order, so that a solve that is resumed finds
            it as the first run did. Requests of a local processor, which takes no one's time, are charged as predicted.
    """

    def __init__(
        self,
        solve: Solve,
        processor: Processor,
        *,
        budget: Budget | None = None,
        wait: bool = True,
        progress: Progress | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.solve, self.processor, self.budget = solve, processor, budget
        self._wait = wait
        self._time = QPUTime(processor.rep_delay)
        self._around = Surroundings(solve, processor, sleep, progress or _silent, self._charge, self._require)
        self._next = 0

    def run(self, requests: Sequence[JobRequest]) -> list[JobOutcome]:
        """The outcomes of some requests, which take the next numbers of the solve.

        Args:
            requests: jobs that do not depend on each other; a few of them wait or run at a time.

        Raises:
            BudgetError: what is new among them takes more than is left; nothing was handed in.
            JobError: a job failed or was cancelled, or its result cannot be had.
            LedgerError: another request was recorded under one of the numbers.
            ProcessorError: the service did not answer for minutes.
            StillRunning: a job is not finished, and nobody waits.
        """
        first, self._next = self._next, self._next + len(requests)
        outcomes: dict[int, JobOutcome] = {}
        to_do = []
        for number, request in enumerate(requests, start=first):
            self.solve.check(number, request)
            stored = self.solve.answer(number)
            if stored is None:
                to_do.append(PendingRequest(number, request, self._time.of(request), self._around))
            else:
                outcomes[number], charged = stored
                self._charge(number, charged)
        for work in to_do:
            self._charge(work.number, work.spent())
        if new := sum(work.predicted for work in to_do if work.needs_job):
            self._require(new)
        self._answer(to_do, outcomes)
        return [outcomes[number] for number in sorted(outcomes)]

    def _answer(self, to_do: list[PendingRequest], outcomes: dict[int, JobOutcome]) -> None:
        waiting, active = deque(to_do), deque[PendingRequest]()
        running: list[JobRow] = []
        most = 1 if self.processor.is_local else _IN_FLIGHT
        while active or (waiting and len(running) < most):
            while waiting and len(active) + len(running) < most:
                active.append(waiting.popleft())
                active[-1].start()
            work = active.popleft()
            outcome = work.finish(wait=self._wait)
            if outcome is not None:
                outcomes[work.number] = outcome
            elif work.row is not None:
                running.append(work.row)
        if running:
            names = ", ".join(f"job {row.job_id} ({row.state})" for row in running)
            raise StillRunning(f"not finished yet: {names}; `qdeq resume` asks again")

    def _charge(self, number: int, seconds: float) -> None:
        if self.budget is not None:
            self.budget.charge(number, seconds)

    def _require(self, seconds: float) -> None:
        if self.budget is not None:
            self.budget.require(seconds)


def _silent(row: JobRow) -> None:
    """Tells nobody."""
