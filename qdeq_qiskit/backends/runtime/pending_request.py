"""One request under way: its job, handed in, found again, waited for, and handed in anew where it failed."""

from __future__ import annotations

import time
from functools import partial
from typing import Any, final

from qdeq_qiskit.backends.runtime.errors import HardwareError, JobError
from qdeq_qiskit.backends.runtime.job import Job, JobOutcome, JobRequest, JobState
from qdeq_qiskit.backends.runtime.job_row import ENDED, UNREADABLE, JobRow
from qdeq_qiskit.backends.runtime.retries import JOB_TRIES, TransientFault, is_transient_failure, waits
from qdeq_qiskit.backends.runtime.surroundings import LISTINGS, Surroundings, fetch_wait, listed
from qdeq_qiskit.backends.runtime.usage import seconds_charged

_LAG = 300.0  # seconds after which a listing shows all jobs that were taken
_LOOKS = (1, 4)  # polls after which a twin is looked for, which a listing shows late
_FINAL = (JobState.DONE, JobState.FAILED, JobState.CANCELLED)

_poll_wait = waits(0.5, factor=1.5, longest=20.0)


@final
class PendingRequest:
    """A request under way.

    Attributes:
        number: of the request.
        predicted: seconds of its job, by the formula.
        row: of the latest attempt, once there is one.
    """

    def __init__(self, number: int, request: JobRequest, predicted: float, around: Surroundings) -> None:
        self.number, self.request, self.predicted = number, request, predicted
        self.row: JobRow | None = None
        self._around = around
        self._job: Job | None = None
        self._tries = 0
        self._was_unreadable = False

    @property
    def needs_job(self) -> bool:
        """Whether a new job has to be handed in: none was, or the last one failed."""
        attempts = self._around.solve.attempts(self.number)
        return not attempts or attempts[-1].state in ENDED

    def spent(self) -> float:
        """Seconds of all attempts: what was charged where that is known, else what was predicted."""
        attempts = self._around.solve.attempts(self.number)
        return sum(row.predicted_seconds if row.qpu_seconds is None else row.qpu_seconds for row in attempts)

    def start(self) -> None:
        """Have a job for it: the one that was handed in before, if there is one, else a new one."""
        if self.needs_job:
            self._submit_anew()
            return
        self.row = row = self._around.solve.attempts(self.number)[-1]
        self._was_unreadable = row.state == UNREADABLE
        if row.job_id is None:
            if not self._adopt(LISTINGS if time.time() - row.submitted < _LAG else 1):
                self._submit(is_doubtful=True)
            return
        if self._adopt(1):
            return
        self._job = self._around.ask(partial(self._around.processor.job, row.job_id), "asking for a job")
        if self._job is None:
            self._unknown(row.job_id)
            self._replace()

    def finish(self, *, wait: bool) -> JobOutcome | None:
        """The outcome, stored, of this job or of another one in its place; None if it takes longer and nobody waits.

        Raises:
            JobError: the job failed or was cancelled, or its result cannot be had.
        """
        while True:
            state = self._awaited(wait)
            if state not in _FINAL:
                return None
            if not self._around.processor.is_local and self._has_other_job():
                continue
            if state is not JobState.DONE:
                self._ended(state)
            elif (outcome := self._fetched()) is not None:
                return outcome

    def _submit_anew(self) -> None:
        """Hand in another attempt, with a tag of its own."""
        self.row = self._around.solve.write_attempt(self.number, self.request, self.predicted)
        self._job, self._was_unreadable = None, False
        self._around.progress(self.row)
        self._around.charge(self.number, self.spent())
        self._submit()

    def _replace(self) -> None:
        """Hand in another job in place of one that nothing came of, if that can be paid."""
        self._around.charge(self.number, self.spent())
        self._around.require(self.predicted)
        self._submit_anew()

    def _submit(self, *, is_doubtful: bool = False) -> None:
        """Hand the job in under the tag that is written down, and make sure that there is one job of that tag.

        Args:
            is_doubtful: whether the service may have taken it before.
        """
        assert self.row is not None
        tag, failed = self.row.tag, False

        def submit() -> Job | None:
            nonlocal failed
            if failed and self._adopt(LISTINGS):
                return self._job
            try:
                job = self._around.processor.submit(self.request, [tag])
                if self._around.solve.has_job(job.id):
                    raise TransientFault(f"the service acknowledged it as job {job.id}, which is another one")
            except TransientFault:
                failed = True  # nobody knows whether the service has taken it
                raise
            return job

        try:
            self._job = self._around.ask(submit, "handing in a job")
        except HardwareError as error:
            # Refused; but where a job of that tag may be there all the same, it is looked for next time.
            if not (failed or is_doubtful):
                self._note(state=JobState.FAILED.value, reason=str(error), qpu_seconds=0.0)
            raise
        assert self._job is not None
        self._note(job_id=self._job.id, state=JobState.QUEUED.value)
        # The client itself sends a submission again after a server's error, so there may be two.
        self._adopt(1)

    def _adopt(self, tries: int) -> bool:
        """Take one of the jobs with the tag, and cancel the others: one that is done, else the oldest one.

        Args:
            tries: how often the listing is asked.

        Returns:
            Whether there is one.
        """
        if self._around.processor.is_local:
            return False
        assert self.row is not None
        jobs = listed(self._around.processor, self.row.tag, tries, self._around.sleep)
        if not jobs:
            return False
        if self._job is not None and self._job.id not in [job.id for job in jobs]:
            jobs.append(self._job)  # the listing is behind
        if len(jobs) > 1:
            states = [self._around.ask(job.state, "asking for a job's state") for job in jobs]
            alive = [(job, state) for job, state in zip(jobs, states, strict=True) if state.value not in ENDED]
            alive.sort(key=lambda pair: pair[1] is not JobState.DONE)
            for job, state in alive[1:]:
                if state is not JobState.DONE:
                    self._around.ask(job.cancel, "cancelling a job that was taken twice")
            jobs = [job for job, _ in alive] or jobs
        self._job = jobs[0]
        if self.row.job_id != self._job.id:
            self._note(job_id=self._job.id, state=JobState.QUEUED.value)
        return True

    def _has_other_job(self) -> bool:
        """Whether another job of the same tag, listed late, is better than this one; if not, it is cancelled."""
        assert self._job is not None
        before = self._job
        self._adopt(1)
        return self._job.id != before.id

    def _awaited(self, wait: bool) -> JobState:
        """The state of the job, when it has ended; at once if nobody waits."""
        polls = 0
        while True:
            assert self.row is not None
            assert self._job is not None
            state: JobState = self._around.ask(self._job.state, f"asking for the state of job {self._job.id}")
            if state in _FINAL:
                return state
            if self.row.state != state.value:
                self._note(state=state.value)
            if not wait:
                return state
            self._around.sleep(_poll_wait(polls))
            if polls in _LOOKS:
                self._adopt(1)
            polls += 1

    def _fetched(self) -> JobOutcome | None:
        """The result, stored; None if it is lost for good and another job was handed in.

        Raises:
            JobError: it could not be had, for the first time.
        """
        try:
            assert self._job is not None
            outcome = self._around.outcome(self._job, self.request)
        except JobError as error:
            if not self._was_unreadable:
                self._note(state=UNREADABLE, reason=str(error))
                raise JobError(
                    f"{error}; `qdeq resume` asks for it once more, and runs the job again if it is lost"
                ) from None
            self._note(state=JobState.FAILED.value, reason=str(error))
            self._replace()
            return None
        assert self.row is not None
        local = self._around.processor.is_local
        used = self.predicted if local or outcome.qpu_seconds is None else outcome.qpu_seconds
        before = self.spent() - (self.predicted if self.row.qpu_seconds is None else self.row.qpu_seconds)
        self.row = self._around.solve.store(self.row, outcome, before + used)
        self._around.progress(self.row)
        self._around.charge(self.number, before + used)
        return outcome

    def _ended(self, state: JobState) -> None:
        """Hand in another job in place of one that failed of a transient cause.

        Raises:
            JobError: it failed of another cause, too often, or was cancelled.
        """
        assert self._job is not None
        reason = self._around.ask(self._job.reason, f"asking why job {self._job.id} ended")
        self._note(state=state.value, reason=reason, qpu_seconds=seconds_charged(self._job, sleep=self._around.sleep))
        self._tries += 1
        if state is JobState.FAILED and is_transient_failure(reason) and self._tries < JOB_TRIES:
            self._around.sleep(fetch_wait(self._tries))
            self._replace()
            return
        how = "failed" if state is JobState.FAILED else "was cancelled"
        raise JobError(
            f"job {self._job.id} on {self._around.processor.name} {how} ({reason or 'no reason was given'}); "
            "`qdeq resume` hands it in anew"
        )

    def _unknown(self, job_id: str) -> None:
        """Write down that a job is gone; where another one would be paid, too, that is for the user to decide."""
        name, is_local = self._around.processor.name, self._around.processor.is_local
        reason = "the process that ran it ended" if is_local else "the service does not know the job any more"
        self._note(state=JobState.FAILED.value, reason=reason, qpu_seconds=0.0 if is_local else None)
        if not is_local:
            raise JobError(
                f"job {job_id}: {name} does not know it any more, so it was deleted, or belongs to another account or "
                "instance; `qdeq resume` with this one hands it in anew"
            )

    def _note(self, **changes: Any) -> None:
        assert self.row is not None
        self.row = self._around.solve.update_job(self.row, **changes)
        self._around.progress(self.row)
