from collections import Counter

import numpy as np
import pytest
from scripted import LOST, ScriptedProcessor, ScriptedService, answer, missing, raises, request

from qdeq_qiskit.backends.runtime.errors import (
    AccountError,
    BudgetError,
    JobError,
    LedgerError,
    ProcessorError,
    StillRunning,
)
from qdeq_qiskit.backends.runtime.job import JobState
from qdeq_qiskit.backends.runtime.ledger import Ledger
from qdeq_qiskit.backends.runtime.qpu_time import Budget, QPUTime
from qdeq_qiskit.backends.runtime.retries import TransientFault, is_transient_failure

REQUESTS = [request([[0.1 * number, 0.2]], seed=number) for number in range(4)]


class Killed(BaseException):
    """The end of the process."""


class World:
    """A ledger and a service that outlive the process, which is a dispatcher."""

    def __init__(self, **service):
        self.service = ScriptedService(**service)
        self.ledger = Ledger.open(None)
        self.solve = self.ledger.begin("circuits", {})
        self.slept = []

    def run(self, requests=REQUESTS, *, is_local=False, **options):
        dispatcher = self.solve.dispatcher(
            ScriptedProcessor(self.service, is_local=is_local), sleep=self.slept.append, **options
        )
        return dispatcher.run(requests)

    def assert_done_once(self, outcomes, requests=REQUESTS):
        for outcome, of in zip(outcomes, requests, strict=True):
            np.testing.assert_array_equal(outcome.arrays["evs"], answer(of))
        assert self.service.evaluated == Counter((of.seed, of.rows.tobytes()) for of in requests)


def test_outcomes_come_in_the_order_of_the_requests():
    world = World()
    world.assert_done_once(world.run())
    assert [row.state for row in world.solve.jobs()] == ["done"] * 4


def test_a_replay_asks_the_service_nothing():
    world = World()
    world.run()
    world.service.calls.clear()
    world.assert_done_once(world.run())
    assert not world.service.calls


def test_several_calls_take_the_numbers_one_after_another():
    world = World()
    dispatcher = world.solve.dispatcher(ScriptedProcessor(world.service), sleep=world.slept.append)
    first, rest = dispatcher.run(REQUESTS[:1]), dispatcher.run(REQUESTS[1:])
    world.assert_done_once(first + rest)
    assert [row.number for row in world.solve.jobs()] == [0, 1, 2, 3]


@pytest.mark.parametrize("verb", ["submit", "acknowledge", "find", "state", "outcome", "job"])
@pytest.mark.parametrize("when", range(5))
def test_a_kill_at_any_call_of_the_service_neither_loses_a_job_nor_runs_it_twice(verb, when):
    world = World(lag=2)
    world.service.faults = {verb: [None] * when + [raises(Killed())]}
    for _ in range(2):
        try:
            outcomes = world.run()
            break
        except Killed:
            pass
    world.assert_done_once(outcomes)
    assert len(world.service.jobs) == 4


@pytest.mark.parametrize("verb", ["submit", "acknowledge", "find", "state", "outcome"])
def test_lost_connections_are_waited_out(verb):
    world = World(lag=1)
    world.service.faults = {verb: [LOST, None, LOST, LOST]}
    world.assert_done_once(world.run())
    assert len(world.service.jobs) == 4


def test_a_service_that_stays_away_ends_in_one_sentence_and_the_solve_goes_on_later():
    world = World()
    world.service.faults = {"acknowledge": [LOST], "find": [LOST] * 9}
    with pytest.raises(ProcessorError, match=r"ibm_scripted: .*tried 9 times in vain \(connection lost\); nothing is"):
        world.run()
    assert 120 < sum(world.slept) < 600
    world.assert_done_once(world.run())
    assert len(world.service.jobs) == 4


def test_a_submission_that_the_service_took_twice_is_cancelled_but_for_the_oldest():
    world = World()

    def twice():
        processor.submit(REQUESTS[0], [world.solve.jobs()[-1].tag])

    processor = ScriptedProcessor(world.service)
    world.service.faults = {"submit": [twice]}
    outcomes = world.run(REQUESTS[:1])
    world.assert_done_once(outcomes, REQUESTS[:1])
    assert [job.state_now for job in world.service.jobs] == [JobState.DONE, JobState.CANCELLED]


def test_a_twin_that_is_listed_late_is_cancelled_too():
    world = World()
    processor = ScriptedProcessor(world.service)

    def twice():
        processor.submit(REQUESTS[0], [world.solve.jobs()[-1].tag])

    world.service.lag = 1
    world.service.faults = {"submit": [twice]}
    world.service.states = [[JobState.QUEUED] * 99, [JobState.RUNNING, JobState.DONE]]
    world.assert_done_once(world.run(REQUESTS[:1]), REQUESTS[:1])
    assert sorted(job.state_now for job in world.service.jobs) == [JobState.CANCELLED, JobState.DONE]


def test_what_is_refused_is_not_tried_again_and_can_be_resumed():
    world = World()
    world.service.faults = {"submit": [raises(AccountError("the token is not valid any more"))]}
    with pytest.raises(AccountError, match="not valid any more"):
        world.run()
    assert world.service.calls["submit"] == 1
    assert world.solve.jobs()[0].state == "failed"
    world.assert_done_once(world.run())


def test_a_job_that_failed_of_a_transient_cause_is_handed_in_again():
    world = World(states=[[JobState.FAILED]], reason="Error code 5203; Failed to run job")
    world.assert_done_once(world.run())
    assert [(row.number, row.attempt, row.state) for row in world.solve.jobs()][:2] == [
        (0, 0, "failed"),
        (0, 1, "done"),
    ]
    assert world.solve.jobs()[0].tag != world.solve.jobs()[1].tag


def test_a_job_that_keeps_failing_is_given_up():
    world = World(states=[[JobState.FAILED]] * 9, reason="Error code 9999; Internal error")
    with pytest.raises(JobError, match=r"job job-2 .*failed .*9999"):
        world.run(REQUESTS[:1])
    assert len(world.service.jobs) == 3


def test_a_job_that_failed_for_good_names_its_reason_and_is_handed_in_anew_on_resumption():
    world = World(states=[[JobState.FAILED]], reason="Error code 7000; Instruction not in basis gates")
    with pytest.raises(JobError, match=r"job job-0 on ibm_scripted failed \(Error code 7000.*`qdeq resume` hands"):
        world.run()
    row = world.solve.jobs()[0]
    assert (row.state, row.reason) == ("failed", "Error code 7000; Instruction not in basis gates")
    world.assert_done_once(world.run())


def test_a_cancelled_job_says_so_and_is_handed_in_anew_on_resumption():
    world = World(states=[[JobState.CANCELLED]])
    with pytest.raises(JobError, match="was cancelled"):
        world.run()
    world.assert_done_once(world.run())


def test_a_result_that_is_missing_for_a_while_is_fetched_again():
    world = World()
    world.service.faults = {"outcome": [missing, missing, missing]}
    world.assert_done_once(world.run())


def test_a_result_that_stays_missing_is_told_then_fetched_again_on_resumption():
    world = World()
    world.service.faults = {"outcome": [missing] * 5}
    with pytest.raises(JobError, match=r"has no result; `qdeq resume` asks for it once more"):
        world.run()
    assert world.solve.jobs()[0].state == "unreadable"
    world.assert_done_once(world.run())
    assert len(world.service.jobs) == 4


def test_a_result_that_is_lost_for_good_is_measured_again_on_resumption():
    world = World()
    world.service.faults = {"outcome": [missing] * 10}
    with pytest.raises(JobError):
        world.run()
    outcomes = world.run()
    np.testing.assert_array_equal(outcomes[0].arrays["evs"], answer(REQUESTS[0]))
    assert [row.attempt for row in world.solve.jobs() if row.number == 0] == [0, 1]


def test_another_request_under_a_recorded_number_is_refused():
    world = World()
    world.run(REQUESTS[:1])
    moved = request([[0.0, 0.2 + 1e-6]], seed=0)
    with pytest.raises(LedgerError, match=r"request 0: .*the angles differ"):
        world.run([moved])
    for other in (request([[0.0, 0.2]], seed=1), request([[0.0, 0.2]], shots=99), request([[0.0, 0.2]], label="IZ")):
        with pytest.raises(LedgerError, match="circuit, observables, shots, options or seed"):
            world.run([other])


def test_a_request_is_known_again_with_other_parameters_and_rounding():
    world = World()
    world.run(REQUESTS[:1])
    world.service.calls.clear()
    world.run([request([[1e-12, 0.2 - 1e-12]], seed=0, name="other")])
    assert not world.service.calls


def test_nobody_waits_if_nobody_wants_to_and_what_is_finished_is_kept():
    world = World(states=[[JobState.QUEUED, JobState.QUEUED, JobState.DONE]] * 4)
    with pytest.raises(StillRunning, match=r"job job-0 \(queued\), job job-1 \(queued\), job job-2 \(queued\)"):
        world.run(wait=False)
    assert not world.slept
    with pytest.raises(StillRunning):
        world.run(wait=False)
    for _ in range(6):
        try:
            outcomes = world.run(wait=False)
            break
        except StillRunning:
            pass
    world.assert_done_once(outcomes)


def test_a_budget_is_asked_before_anything_is_handed_in():
    world = World()
    needed = sum(QPUTime().of(of) for of in REQUESTS)
    with pytest.raises(BudgetError, match="max_qpu_seconds"):
        world.run(budget=Budget(needed - 0.01))
    assert not world.service.jobs
    world.run(budget=Budget(needed))


def test_a_job_in_place_of_one_that_failed_has_to_be_paid_too():
    world = World(states=[[JobState.FAILED]], reason="Error code 5203")
    with pytest.raises(BudgetError):
        world.run(REQUESTS[:1], budget=Budget(1.5 * QPUTime().of(REQUESTS[0])))
    assert len(world.service.jobs) == 1


def test_an_acknowledgement_that_names_a_job_of_before_is_not_believed():
    world = World()
    world.run(REQUESTS[:1])

    processor = ScriptedProcessor(world.service)
    submit = processor.submit

    def misnaming(request, tags):
        job = submit(request, tags)
        named = world.service.jobs[0]
        return named if world.service.calls["submit"] == 2 else job

    processor.submit = misnaming
    outcomes = world.solve.dispatcher(processor, sleep=world.slept.append).run(REQUESTS[:2])
    world.assert_done_once(outcomes, REQUESTS[:2])
    assert len(world.service.jobs) == 2


def test_a_budget_is_charged_alike_in_the_first_run_and_in_a_replay():
    world = World(states=[[JobState.FAILED]], reason="Error code 5203")
    first, second = Budget(100), Budget(100)
    world.run(budget=first)
    world.run(budget=second)
    # The job that failed is charged, too, with what the service says of it.
    assert first.spent == second.spent == pytest.approx(5 * 2.5)
    assert world.solve.spent_seconds == pytest.approx(first.spent)


def test_usage_that_is_known_late_is_told_but_changes_no_charge():
    world = World(usage_is_pending=True)
    first, second = Budget(100), Budget(100)
    world.run(budget=first)
    assert [row.qpu_seconds for row in world.solve.jobs()] == [None] * 4
    world.solve.refresh_usage(ScriptedProcessor(world.service), sleep=world.slept.append)
    assert world.solve.spent_seconds == 4 * 2.5
    world.run(budget=second)
    assert second.spent == first.spent == pytest.approx(sum(QPUTime().of(of) for of in REQUESTS))


def test_a_local_processors_jobs_are_charged_as_predicted_and_run_again_if_the_process_ended():
    world = World()
    world.service.faults = {"state": [raises(Killed())]}
    with pytest.raises(Killed):
        world.run(is_local=True)
    budget = Budget(100)
    outcomes = world.run(is_local=True, budget=budget)
    np.testing.assert_array_equal(outcomes[0].arrays["evs"], answer(REQUESTS[0]))
    assert budget.spent == pytest.approx(sum(QPUTime().of(of) for of in REQUESTS))
    assert world.service.calls["find"] == 0


def test_progress_tells_every_change_of_a_job():
    seen = []
    World().run(REQUESTS[:1], progress=seen.append)
    assert [row.state for row in seen] == ["submitting", "queued", "running", "done"]
    assert seen[-1].job_id == "job-0"


def test_cancelling_a_solve_cancels_what_waits_and_keeps_what_is_done():
    world = World(states=[[JobState.DONE], [JobState.QUEUED] * 99, [JobState.QUEUED] * 99])
    with pytest.raises(StillRunning):
        world.run(wait=False)
    processor = ScriptedProcessor(world.service)
    assert world.solve.cancel(processor, sleep=world.slept.append)[:2] == ["job-1", "job-2"]
    assert world.solve.state == "cancelled"
    assert world.solve.answer(0) is not None
    assert {row.state for row in world.solve.jobs()} == {"done", "cancelled"}


def test_cancelling_finds_a_job_that_was_never_acknowledged():
    world = World(states=[[JobState.QUEUED] * 99], lag=2)
    world.service.faults = {"acknowledge": [raises(Killed())]}
    with pytest.raises(Killed):
        world.run()
    assert world.solve.cancel(ScriptedProcessor(world.service), sleep=world.slept.append) == ["job-0"]
    assert world.service.jobs[0].state_now is JobState.CANCELLED


@pytest.mark.parametrize(
    ("reason", "transient"),
    [
        ("Error code 9999; Internal error", True),
        ("Job x failed. Error code: 1010; Error returned at backend level", True),
        ("Error code 1305; ran too long", False),
        ("Traceback: no such gate 9999", False),
        (None, False),
    ],
)
def test_the_code_of_a_failed_job_says_whether_another_try_is_worth_it(reason, transient):
    assert is_transient_failure(reason) is transient


def test_a_transient_fault_is_never_told_as_it_is():
    world = World()
    world.service.faults = {"submit": [LOST] * 99}
    with pytest.raises(ProcessorError) as told:
        world.run()
    assert not isinstance(told.value, TransientFault)


def test_a_job_that_the_service_does_not_know_is_told_before_another_one_is_paid():
    world = World(states=[[JobState.QUEUED] * 99] * 3)
    with pytest.raises(StillRunning):
        world.run(REQUESTS[:1], wait=False)
    elsewhere = ScriptedService()
    processor = ScriptedProcessor(elsewhere)
    with pytest.raises(JobError, match=r"job job-0: ibm_scripted does not know it any more.*another account or inst"):
        world.solve.dispatcher(processor, sleep=world.slept.append).run(REQUESTS[:1])
    assert elsewhere.jobs == []
    world.solve.dispatcher(processor, sleep=world.slept.append).run(REQUESTS[:1])
    assert [row.attempt for row in world.solve.jobs()] == [0, 1]
