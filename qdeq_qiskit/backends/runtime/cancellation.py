"""Jobs of a solve that is given up."""

from __future__ import annotations

from collections.abc import Callable

from qdeq_qiskit.backends.runtime.job import Job, JobState, Processor
from qdeq_qiskit.backends.runtime.job_row import SUBMITTING, JobRow
from qdeq_qiskit.backends.runtime.retries import patiently
from qdeq_qiskit.backends.runtime.solve import Solve
from qdeq_qiskit.backends.runtime.surroundings import LISTINGS, listed
from qdeq_qiskit.backends.runtime.usage import seconds_charged

_REASON = "cancelled by `qdeq cancel`"


def cancel_jobs(solve: Solve, processor: Processor, *, sleep: Callable[[float], None]) -> list[str]:
    """Cancel the jobs of a solve that wait or run at the service; returns their ids.

    Raises:
        ProcessorError: the service did not answer for minutes.
    """
    cancelled = []
    for row in solve.jobs():
        if not row.is_pending:
            continue
        ends = []
        for job in _jobs_of(row, processor, sleep):
            doing = f"{processor.name}: cancelling job {job.id}"
            if patiently(job.state, sleep=sleep, doing=doing) in (JobState.QUEUED, JobState.RUNNING):
                patiently(job.cancel, sleep=sleep, doing=doing)
                cancelled.append(job.id)
            # One that ended before it could be cancelled is charged as any other.
            ends.append((job, patiently(job.state, sleep=sleep, doing=doing)))
        _note_end(solve, row, ends, sleep)
    return cancelled


def _note_end(solve: Solve, row: JobRow, ends: list[tuple[Job, JobState]], sleep: Callable[[float], None]) -> None:
    """Write down how a job ended, and what it is charged with all the same."""
    if not ends:  # the service never took it, or knows it no more
        known = {} if row.job_id is not None else {"qpu_seconds": 0.0}
        solve.update_job(row, state=JobState.CANCELLED.value, reason=_REASON, **known)
        return
    job, state = next((end for end in ends if end[1] is JobState.DONE), ends[0])
    seconds = seconds_charged(job, sleep=sleep)
    if state is JobState.DONE:
        solve.update_job(row, job_id=job.id, state=state.value, qpu_seconds=seconds)
    else:
        ended = state if state is JobState.FAILED else JobState.CANCELLED
        solve.update_job(row, job_id=job.id, state=ended.value, reason=_REASON, qpu_seconds=seconds)


def _jobs_of(row: JobRow, processor: Processor, sleep: Callable[[float], None]) -> list[Job]:
    """All jobs at the service of one row of the ledger, those that it took twice too."""
    tries = LISTINGS if row.state == SUBMITTING and not processor.is_local else 1
    jobs = {job.id: job for job in listed(processor, row.tag, tries, sleep)}
    if row.job_id is not None and row.job_id not in jobs:
        job_id = row.job_id
        doing = f"{processor.name}: asking for a job"
        known = patiently(lambda: processor.job(job_id), sleep=sleep, doing=doing)
        jobs |= {} if known is None else {known.id: known}
    return list(jobs.values())
