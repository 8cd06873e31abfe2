"""Jobs of a solve that is given up: what is written down of each is what became of it."""

import pytest
from scripted import ScriptedProcessor, ScriptedService, request

from qdeq_qiskit.backends.runtime.errors import StillRunning
from qdeq_qiskit.backends.runtime.job import JobState
from qdeq_qiskit.backends.runtime.ledger import Ledger

REQUESTS = [request([[0.1 * number, 0.2]], seed=number) for number in range(3)]


class Killed(BaseException):
    """The end of the process."""


def begun(service):
    solve = Ledger.open(None).begin("circuits", {})
    with pytest.raises((StillRunning, Killed)):
        solve.dispatcher(ScriptedProcessor(service), sleep=lambda _: None, wait=False).run(REQUESTS)
    return solve


def cancelled(solve, service):
    return solve.cancel(ScriptedProcessor(service), sleep=lambda _: None)


def test_a_job_that_was_done_before_it_could_be_cancelled_is_charged():
    waits = [JobState.QUEUED] * 99
    service = ScriptedService(states=[[JobState.QUEUED, JobState.QUEUED, JobState.DONE], waits, waits])
    solve = begun(service)
    service.jobs[0]._states = []
    service.jobs[0].state_now = JobState.DONE
    assert cancelled(solve, service) == ["job-1", "job-2"]
    done = solve.jobs()[0]
    assert (done.state, done.qpu_seconds) == ("done", 2.5)
    assert [row.state for row in solve.jobs()][1:] == ["cancelled", "cancelled"]
    assert not solve.has_pending_jobs


def test_a_job_that_the_service_never_took_costs_nothing():
    service = ScriptedService()

    def die():
        raise Killed

    service.faults = {"submit": [die]}
    solve = begun(service)
    assert cancelled(solve, service) == []
    (row,) = solve.jobs()
    assert (row.state, row.qpu_seconds) == ("cancelled", 0.0)
    assert solve.spent_seconds == 0


@pytest.mark.parametrize("when", range(6))
def test_a_process_that_dies_while_it_cancels_is_followed_by_one_that_cancels_the_rest(when):
    service = ScriptedService(states=[[JobState.QUEUED] * 99] * 3)
    solve = begun(service)

    def die():
        raise Killed

    service.faults = {"cancel": [None] * (when // 2) + [die]} if when % 2 else {"state": [None] * when + [die]}
    for _ in range(2):
        try:
            cancelled(solve, service)
            break
        except Killed:
            pass
    assert {job.state_now for job in service.jobs} == {JobState.CANCELLED}
    assert {row.state for row in solve.jobs()} == {"cancelled"}
    assert solve.state == "cancelled"
