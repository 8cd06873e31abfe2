"""Jobs of a solve that is given up."""

from __future__ import annotations

from collections.abc import Callable

from qdeq_qiskit.backends.runtime.job import Job, JobState, Processor
from qdeq_qiskit.backends.runtime.job_row import SUBMITTING, JobRow
from qdeq_qiskit.backends.runtime.retries import patiently
from qdeq_qiskit.backends.runtime.solve import Solve
from qdeq_qiskit.backends.runtime.surroundings import LISTINGS, listed


def cancel_jobs(solve: Solve, processor: Processor, *, sleep: Callable[[float], None]) -> list[str]:
    """Cancel the jobs of a solve that wait or run at the service; returns their ids.

    Raises:
        ProcessorError: the service did not answer for minutes.
    """
    cancelled = []
    for row in solve.jobs():
        if not row.is_pending:
            continue
        for job in _jobs_of(row, processor, sleep):
            doing = f"{processor.name}: cancelling job {job.id}"
            if patiently(job.state, sleep=sleep, doing=doing) in (JobState.QUEUED, JobState.RUNNING):
                patiently(job.cancel, sleep=sleep, doing=doing)
                cancelled.append(job.id)
        solve.update_job(row, state=JobState.CANCELLED.value, reason="cancelled by `qdeq cancel`")
    return cancelled


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
