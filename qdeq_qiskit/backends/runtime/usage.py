"""What jobs were charged with, asked afterwards: for people to read, and no reason to call anything a failure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qdeq_qiskit.backends.runtime.errors import HardwareError
from qdeq_qiskit.backends.runtime.job import Job, JobState, Processor
from qdeq_qiskit.backends.runtime.retries import patiently

if TYPE_CHECKING:
    from qdeq_qiskit.backends.runtime.solve import Solve

_log = logging.getLogger(__name__)


def refresh_usage(solve: Solve, processor: Processor, *, sleep: Callable[[float], None]) -> None:
    """Write down what is charged for jobs that are done, where that was not known; what cannot be had is left out."""
    for row in solve.jobs():
        if row.state != JobState.DONE or row.qpu_seconds is not None or row.job_id is None:
            continue
        doing = f"{processor.name}: asking for the usage of job {row.job_id}"
        try:
            job = patiently(partial(processor.job, row.job_id), sleep=sleep, doing=doing)
            seconds = None if job is None else patiently(job.qpu_seconds, sleep=sleep, doing=doing)
        except HardwareError as error:
            _log.warning("what solve %d was charged is not known in full (%s)", solve.id, error)
            return
        solve.update_job(row, qpu_seconds=seconds)


def seconds_charged(job: Job, *, sleep: Callable[[float], None]) -> float | None:
    """What is charged for a job that ended; None if nobody says."""
    try:
        return patiently(job.qpu_seconds, sleep=sleep, doing=f"asking for the usage of job {job.id}")
    except HardwareError:
        return None
