"""What the requests of one run have in common, and how a service is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, final

from qdeq_qiskit.backends.runtime.errors import JobError
from qdeq_qiskit.backends.runtime.job import Job, JobOutcome, JobRequest, Processor
from qdeq_qiskit.backends.runtime.job_row import JobRow
from qdeq_qiskit.backends.runtime.retries import patiently, waits
from qdeq_qiskit.backends.runtime.solve import Solve

Progress = Callable[[JobRow], None]
"""Called with a job's row whenever its state changes."""

LISTINGS = 5
"""How often a listing is asked for a job, which it shows some time after the job was taken."""

_listing_wait = waits(1.0, longest=16.0)
fetch_wait = waits(1.0, longest=30.0)
"""Seconds before another try to have something of a job's."""

_FETCHES = 5  # of a result that is missing or malformed


@final
@dataclass(frozen=True)
class Surroundings:
    """What all requests of a run have in common.

    Attributes:
        solve: where they are written down.
        processor: who runs their jobs.
        sleep: waits for some seconds.
        progress: is told of every change.
        charge: puts down what a request, by its number, takes in seconds.
        require: raises BudgetError if so many seconds are not left.
    """

    solve: Solve
    processor: Processor
    sleep: Callable[[float], None]
    progress: Progress
    charge: Callable[[int, float], None]
    require: Callable[[float], None]

    def ask(self, call: Callable[[], Any], doing: str) -> Any:
        """What `call` returns; transient faults are waited out."""
        return patiently(call, sleep=self.sleep, doing=f"{self.processor.name}: {doing}")

    def outcome(self, job: Job, request: JobRequest) -> JobOutcome:
        """What came out of a job, asked for several times if it is missing or malformed.

        Raises:
            JobError: it still is.
        """
        read, doing = partial(job.outcome, request), f"fetching the result of job {job.id}"
        for attempt in range(_FETCHES - 1):
            try:
                return self.ask(read, doing)
            except JobError:
                self.sleep(fetch_wait(attempt))
        return self.ask(read, doing)


def listed(processor: Processor, tag: str, tries: int, sleep: Callable[[float], None]) -> list[Job]:
    """The jobs with a tag, oldest first.

    Args:
        processor: who has them.
        tag: of the jobs.
        tries: how often the listing is asked as long as it shows none.
        sleep: waits for some seconds.
    """
    for attempt in range(tries):
        if attempt:
            sleep(_listing_wait(attempt - 1))
        doing = f"{processor.name}: looking for a job"
        if jobs := patiently(lambda: processor.find(tag), sleep=sleep, doing=doing):
            return list(jobs)
    return []
