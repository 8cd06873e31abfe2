"""A small solve with IBM's own client against a service that fails: the same numbers, and no evaluation twice."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import chain
import numpy as np
import pytest

from qdeq_qiskit.backends.runtime.errors import AccountError, JobError, ProcessorError, StillRunning
from qdeq_qiskit.backends.runtime.ledger import Ledger

REQUESTS = 2 * chain.STEPS


def assert_evaluated_once(service):
    counts = Counter(service.records()["evaluations"])
    assert len(counts) == REQUESTS
    assert set(counts.values()) == {1}


def test_an_undisturbed_solve_runs_each_request_as_one_job(service, undisturbed, tmp_path):
    np.testing.assert_array_equal(chain.run(tmp_path / "ledger.sqlite"), undisturbed)
    assert_evaluated_once(service)
    assert len(service.records()["jobs"]) == REQUESTS


@pytest.mark.parametrize(
    "faults",
    [
        {"submit_500_before": 1},
        {"submit_cut_before": 2},
        {"submit_cut_after": 2},
        {"submit_429": 2},
        {"state_500": 2},
        {"state_cut": 2},
        {"state_hangs": 1},
        {"job_fails": 2},
        {"result_missing": 2},
        {"result_empty": 1},
        {"result_truncated": 2},
        {"result_of_something_else": 1},
        {"usage_pending": 2},
        {"acknowledged_without_id": 1},
        {"acknowledged_by_half_a_text": 1},
        {"state_malformed": 1},
        {"listing_malformed": 1},
    ],
    ids=lambda faults: next(iter(faults)),
)
def test_a_fault_that_passes_leaves_no_trace_in_the_numbers(service, undisturbed, tmp_path, faults):
    service.set(settings={"lag": 1, "hang": 1.5}, **faults)
    np.testing.assert_array_equal(chain.run(tmp_path / "ledger.sqlite"), undisturbed)
    assert_evaluated_once(service)


@pytest.mark.parametrize("nonsense", ["null", "[]", '"text"', '{"jobs": [null], "id": "x", "state": {"status": 7}}'])
@pytest.mark.parametrize("call", ["POST jobs", "GET jobs", "GET jobs/results", "GET jobs/metrics"])
def test_an_answer_that_makes_no_sense_is_asked_for_again(service, undisturbed, tmp_path, call, nonsense):
    service.set(settings={"nonsense": nonsense}, **{f"nonsense {call}": 1})
    np.testing.assert_array_equal(chain.run(tmp_path / "ledger.sqlite"), undisturbed)
    assert_evaluated_once(service)


@pytest.mark.slow
def test_a_service_that_fails_longer_than_the_client_itself_tries_is_waited_for(service, undisturbed, tmp_path):
    service.set(submit_500_before=7)
    np.testing.assert_array_equal(chain.run(tmp_path / "ledger.sqlite"), undisturbed)
    assert_evaluated_once(service)


@pytest.mark.parametrize("fault", ["submit_twice", "submit_500_after"])
@pytest.mark.parametrize("lag", [0, 1])
def test_a_submission_that_was_taken_twice_runs_once(service, undisturbed, tmp_path, fault, lag):
    # The first job takes a while, as a queue does, so that the client has looked for twins before the second one runs.
    service.set(settings={"lag": lag, "first_seconds": 2.0}, **{fault: 1})
    np.testing.assert_array_equal(chain.run(tmp_path / "ledger.sqlite"), undisturbed)
    assert_evaluated_once(service)
    states = Counter(job["state"] for job in service.records()["jobs"])
    assert states == {"Completed": REQUESTS, "Cancelled": 1}


def test_an_acknowledgement_that_names_another_job_is_not_believed(service, undisturbed, tmp_path):
    path = tmp_path / "ledger.sqlite"
    told = []

    def once(row):
        if row.number == 2 and not told:
            told.append(row)
            service.set(acknowledged_as_another=1)

    np.testing.assert_array_equal(chain.run(path, progress=once), undisturbed)
    assert told
    assert_evaluated_once(service)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("submit_400", ProcessorError, "refused with 400"),
        ("submit_401", AccountError, "does not accept the token"),
        ("submit_403", AccountError, "plan or instance does not allow it"),
        ("job_fails_for_good", JobError, r"on ibm_manila failed \(Error code 7000; Instruction not in basis gates"),
        ("job_is_cancelled", JobError, "was cancelled"),
        ("401", AccountError, "does not accept the token"),
    ],
)
def test_a_fault_that_stays_ends_in_one_sentence_and_resumption_goes_on(
    service, undisturbed, tmp_path, fault, error, message
):
    path = tmp_path / "ledger.sqlite"
    service.set(**{fault: -1 if fault == "401" else 1})
    with pytest.raises(error, match=message) as told:
        chain.run(path)
    assert "\n" not in str(told.value)
    service.set()
    np.testing.assert_array_equal(chain.run(path), undisturbed)
    assert_evaluated_once(service)


@pytest.mark.parametrize("fault", ["result_missing", "result_truncated"])
def test_a_result_that_cannot_be_had_names_the_job_and_is_fetched_on_resumption(service, undisturbed, tmp_path, fault):
    path = tmp_path / "ledger.sqlite"
    service.set(**{fault: 5})
    with pytest.raises(JobError) as told:
        chain.run(path)
    with Ledger.read(path) as ledger:
        assert str(ledger.jobs()[0].job_id) in str(told.value)
    np.testing.assert_array_equal(chain.run(path), undisturbed)
    assert_evaluated_once(service)


def test_a_result_that_the_service_lost_is_measured_once_more(service, undisturbed, tmp_path):
    path = tmp_path / "ledger.sqlite"
    service.set(result_missing=10)
    with pytest.raises(JobError):
        chain.run(path)
    np.testing.assert_array_equal(chain.run(path), undisturbed)
    assert sum(Counter(service.records()["evaluations"]).values()) == REQUESTS + 1


def test_a_service_that_is_restarted_meanwhile_still_has_the_jobs(service, undisturbed, tmp_path):
    path = tmp_path / "ledger.sqlite"
    service.set(settings={"stopped": True})
    with pytest.raises(StillRunning, match="queued"):
        chain.run(path, wait=False)
    service.stop()
    service.start()
    np.testing.assert_array_equal(chain.run(path), undisturbed)
    assert_evaluated_once(service)


def check_kills(service, folder, reference, *, kills, steps):
    """Solves until so many processes were killed give the same numbers each, and each request is evaluated once."""
    script = Path(__file__).parent / "killing.py"
    command = [sys.executable, str(script), str(folder), str(kills), str(service.port)]
    environment = {**os.environ, "CHAIN_STEPS": str(steps)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=900)
    *lines, last = done.stdout.splitlines()
    assert last == f"killed {kills}"
    for line in lines:
        what, *values = line.split()
        if what == "solved":
            np.testing.assert_array_equal(np.array(values, dtype=float).reshape(2, 2), reference)
        else:
            assert values == ["1"] * 2 * steps


@pytest.mark.slow
def test_processes_that_are_killed_at_random_moments_lose_nothing(service, undisturbed, tmp_path):
    check_kills(service, tmp_path, undisturbed, kills=5, steps=chain.STEPS)


@pytest.mark.slow
def test_fifty_kills_at_random_moments_lose_nothing_and_run_nothing_twice(service, tmp_path):
    reference = chain.run(tmp_path / "ledger.sqlite", steps=6)
    check_kills(service, tmp_path, reference, kills=50, steps=6)
