"""A job at IBM."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, final

from qdeq_qiskit.backends.runtime.client_faults import told
from qdeq_qiskit.backends.runtime.errors import HardwareError, JobError
from qdeq_qiskit.backends.runtime.estimation import outcome_of
from qdeq_qiskit.backends.runtime.job import Job, JobOutcome, JobRequest, JobState
from qdeq_qiskit.backends.runtime.retries import TransientFault

if TYPE_CHECKING:
    from qiskit_ibm_runtime import QiskitRuntimeService, RuntimeJobV2

_STATES = {
    "QUEUED": JobState.QUEUED,
    "INITIALIZING": JobState.QUEUED,
    "RUNNING": JobState.RUNNING,
    "DONE": JobState.DONE,
    "ERROR": JobState.FAILED,
    "CANCELLED": JobState.CANCELLED,
}


@final
class IBMJob(Job):
    """A job at IBM.

    Args:
        job: the client's.
        service: which has it.
        hide: takes secrets out of a text.
    """

    def __init__(self, job: RuntimeJobV2, service: QiskitRuntimeService, hide: Callable[[str], str]) -> None:
        self.id = job.job_id()
        self._job, self._service, self._hide = job, service, hide

    def state(self) -> JobState:
        with told(f"asking for the state of job {self.id}", self._hide):
            status = str(self._job.status())
        # The service has words of its own for some ends, such as "Cancelled - Ran too long".
        return _STATES.get(status.split(" ")[0].upper(), JobState.QUEUED)

    def reason(self) -> str | None:
        with told(f"asking why job {self.id} ended", self._hide):
            # The client forgets the reason if it could not ask for the log in the same moment.
            message = self._job.error_message() or self._service.job(self.id).error_message()
        if message is None:
            return None
        return self._hide(" ".join(message.split())).removeprefix(f"Job {self.id} has failed: ")

    def outcome(self, request: JobRequest) -> JobOutcome:
        from qdeq_qiskit.backends.runtime.ibm_result import estimates_of, text_of

        try:
            with told(f"fetching the result of job {self.id}", self._hide):
                text = text_of(self._job)
        except TransientFault:
            raise
        except HardwareError as error:
            raise JobError(f"the result of job {self.id} cannot be had ({error})") from None
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="No positive, finite standard errors")
                arrays = outcome_of(estimates_of(text), request)
        except JobError as error:
            raise JobError(f"the result of job {self.id} is malformed ({error})") from None
        except Exception as error:  # whatever is made of what the service sent
            what = self._hide(" ".join(str(error).split()))[:200]
            raise JobError(f"the result of job {self.id} is malformed ({type(error).__name__}: {what})") from None
        try:
            return JobOutcome(arrays, self.qpu_seconds())
        except HardwareError:  # it can be asked for later, and is no reason to lose a result
            return JobOutcome(arrays, None)

    def qpu_seconds(self) -> float | None:
        with told(f"asking for the usage of job {self.id}", self._hide):
            return _charged(self._job.metrics())

    def cancel(self) -> None:
        from qiskit_ibm_runtime.exceptions import RuntimeInvalidStateError

        # What has ended cannot be cancelled, and need not be.
        with told(f"cancelling job {self.id}", self._hide), suppress(RuntimeInvalidStateError):
            self._job.cancel()


def _charged(metrics: Any) -> float | None:
    """The seconds that a job is charged with; None if the service does not know them yet, or says what is no time."""
    usage = metrics.get("usage") if isinstance(metrics, dict) else None
    if not isinstance(usage, dict) or usage.get("status") == "pending":
        return None
    seconds = usage.get("qpu_charge_time_seconds")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    return float(seconds) if 0 <= seconds < math.inf else None
