"""A processor at IBM, by IBM's own client, as the stand-in service shows it."""

import dataclasses
import json

import chain
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qdeq_qiskit.backends.runtime.errors import AccountError, JobError, ProcessorError, StillRunning
from qdeq_qiskit.backends.runtime.estimation import with_shared_parameters
from qdeq_qiskit.backends.runtime.ibm_processor import open_processor
from qdeq_qiskit.backends.runtime.ibm_result import text_of
from qdeq_qiskit.backends.runtime.job import JobState
from qdeq_qiskit.backends.runtime.ledger import Ledger
from qdeq_qiskit.noise.snapshots import Snapshot


def opened(name="ibm_manila", **options):
    return open_processor(name, **{"num_qubits": 4, "sleep": chain.quickly, "answer_within": 5.0, **options})


def awaited(job):
    while job.state() in (JobState.QUEUED, JobState.RUNNING):
        chain.quickly(0.02)
    return job


def test_a_processor_says_what_its_snapshot_says(service):
    processor, snapshot = opened(), Snapshot.fake("fake_manila")
    assert (processor.name, processor.is_local, processor.rep_delay) == ("ibm_manila", False, 250e-6)
    assert processor.target.num_qubits == 5
    for pair in [(0, 1), (1, 2), (4, 3)]:
        assert processor.target["cx"][pair].error == pytest.approx(snapshot.target["cx"][pair].error)


def test_wires_lie_on_the_qubits_that_the_request_names(service):
    angles = ParameterVector("a", 2)
    circuit = QuantumCircuit(2)
    for wire in range(2):
        circuit.sx(wire)
        circuit.rz(angles[wire], wire)
        circuit.sx(wire)
    request = dataclasses.replace(
        chain.asked([[0.0, np.pi]], 0), circuit=with_shared_parameters(circuit), physical=(3, 1)
    )
    processor = opened()
    job = awaited(processor.submit(request, ["a-tag"]))
    # √X·√X is a flip, and with a half turn about z in between nothing happens.
    first, second = job.outcome(request).arrays["evs"][:, 0]
    assert (SparsePauliOp("ZI"), SparsePauliOp("IZ")) == request.observables
    np.testing.assert_allclose([first, second], [1.0, -1.0], atol=0.2)


def test_a_job_is_found_by_its_tag_and_by_its_id(service):
    processor = opened()
    request = chain.asked([[0.1, 0.2]], 0)
    first, second = processor.submit(request, ["one"]), processor.submit(request, ["two"])
    assert [job.id for job in processor.find("two")] == [second.id]
    assert processor.find("three") == []
    assert processor.job(first.id).id == first.id
    assert processor.job("unknown") is None


def test_used_seconds_are_those_of_the_service_once_they_are_known(service):
    processor = opened()
    request = chain.asked([[0.1, 0.2]], 0)
    job = awaited(processor.submit(request, ["a-tag"]))
    service.set(usage_pending=1)
    assert job.outcome(request).qpu_seconds is None
    assert job.qpu_seconds() == pytest.approx(2.0 + 0.0003 * 200)


def test_cancelling_ends_a_job_that_waits_and_leaves_one_that_is_done(service):
    processor = opened()
    request = chain.asked([[0.1, 0.2]], 0)
    done = awaited(processor.submit(request, ["one"]))
    service.set(settings={"stopped": True})
    waiting = processor.submit(request, ["two"])
    waiting.cancel()
    done.cancel()
    states = {job["id"]: job["state"] for job in service.records()["jobs"]}
    assert states == {waiting.id: "Cancelled", done.id: "Completed"}


def test_the_least_busy_processor_is_named(service):
    assert opened("least_busy").name == "ibm_manila"


@pytest.mark.parametrize(
    ("options", "settings", "error", "message"),
    [
        ({"name": "ibm_manilla"}, {}, ProcessorError, r"no processor 'ibm_manilla' .*did you mean 'ibm_manila'\?"),
        ({"num_qubits": 6}, {}, ProcessorError, "ibm_manila has 5 qubits, and the circuit needs 6"),
        ({"name": "least_busy", "num_qubits": 6}, {}, ProcessorError, "no processor with at least 6 qubits is online"),
        ({}, {"paused": True}, ProcessorError, "ibm_manila is not running jobs now .*'paused'"),
        ({"name": "least_busy"}, {"paused": True}, ProcessorError, "no processor with at least 4 qubits is online"),
        ({}, {"exhausted": True}, AccountError, "has used up its time"),
        ({"fractional_gates": True}, {}, ProcessorError, "does not support fractional gates"),
        ({"channel": "local"}, {}, AccountError, "channel must be one of .* not 'local'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence_before_anything_is_spent(service, options, settings, error, message):
    service.set(settings=settings)
    with pytest.raises(error, match=message) as told:
        opened(**options)
    assert "\n" not in str(told.value)
    assert service.records()["jobs"] == []


def test_jobs_of_a_paused_processor_can_still_be_asked_for(service, undisturbed, tmp_path):
    path = tmp_path / "ledger.sqlite"
    service.set(settings={"stopped": True})
    with pytest.raises(StillRunning):
        chain.run(path, wait=False)
    service.set(settings={"paused": True})
    np.testing.assert_array_equal(chain.run(path), undisturbed)


def test_a_session_on_a_plan_without_sessions_is_refused_in_one_sentence(service, tmp_path):
    service.set(settings={"open_plan": True})
    with pytest.raises(AccountError, match=r"mode: session is refused.*open plan.*; take mode: job or mode: batch"):
        chain.run(tmp_path / "ledger.sqlite", mode="session")
    assert service.records()["jobs"] == []


@pytest.mark.parametrize(("mode", "called"), [("session", "dedicated"), ("batch", "batch")])
def test_a_resumed_solve_joins_its_session_again_and_closes_it_at_the_end(service, undisturbed, tmp_path, mode, called):
    path = tmp_path / "ledger.sqlite"
    service.set(settings={"open_plan": mode == "batch", "stopped": True})
    with pytest.raises(StillRunning):
        chain.run(path, mode=mode, wait=False)
    service.set()
    np.testing.assert_array_equal(chain.run(path, mode=mode), undisturbed)
    (session,) = service.records()["sessions"]
    assert (session["mode"], session["open"]) == (called, False)
    assert {job["session"] for job in service.records()["jobs"]} == {session["id"]}
    with Ledger.read(path) as ledger:
        assert ledger.solve(1).session_id == session["id"]


def test_a_session_that_was_closed_meanwhile_is_replaced(service, undisturbed, tmp_path):
    path = tmp_path / "ledger.sqlite"
    service.set(settings={"stopped": True})
    with pytest.raises(StillRunning):
        chain.run(path, mode="session", wait=False)
    service.set()
    processor = opened(mode="session", session_id=service.records()["sessions"][0]["id"])
    processor.close()
    np.testing.assert_array_equal(chain.run(path, mode="session"), undisturbed)
    assert [session["open"] for session in service.records()["sessions"]] == [False, False]


def test_a_session_that_cannot_be_closed_is_told_but_hides_nothing(service, caplog):
    processor = opened(mode="session")
    processor.submit(chain.asked([[0.1, 0.2]], 0), ["a-tag"])
    service.set(close_500=-1)
    # The client gives up after tries of its own, which take half a minute.
    processor._session._service._active_api_client._session._initialize_retry(0, 0, 0)
    processor.close()
    assert "may still be open, and is charged until it is closed" in caplog.text


@pytest.mark.parametrize(
    "planted",
    [
        {"__type__": "settings", "__module__": "qiskit.quantum_info.operators", "__class__": "Pauli", "__value__": {}},
        {"__type__": "ndarray", "__value__": "AAAA"},
    ],
    ids=lambda planted: planted["__type__"],
)
def test_a_result_that_names_classes_and_bytes_to_load_makes_nothing_of_them(service, monkeypatch, planted):
    made = []
    for name in ("_deserialize_from_settings", "_decode_and_deserialize"):
        monkeypatch.setattr(f"qiskit_ibm_runtime.json.{name}", lambda *_, **__: made.append(1))
    processor = opened()
    request = chain.asked([[0.1, 0.2]], 0)
    job = awaited(processor.submit(request, ["a-tag"]))
    nonsense = json.dumps({"schema_version": "v2.0", "data": [], "metadata": planted})
    service.set(settings={"nonsense": nonsense}, **{"nonsense GET jobs/results": 1})
    with pytest.raises(JobError, match=f"the result of job {job.id} is malformed"):
        job.outcome(request)
    assert not made
    assert job.outcome(request).arrays["evs"].shape == (2, 1)


@pytest.mark.parametrize("metrics", ["7", "[]", '{"usage": 3}', '{"usage": {"qpu_charge_time_seconds": "much"}}'])
def test_usage_that_makes_no_sense_is_no_reason_to_lose_a_result(service, metrics):
    processor = opened()
    request = chain.asked([[0.1, 0.2]], 0)
    job = awaited(processor.submit(request, ["a-tag"]))
    service.set(settings={"nonsense": metrics}, **{"nonsense GET jobs/metrics": -1})
    assert job.outcome(request).qpu_seconds is None


def test_every_qubit_of_a_processor_is_read_out_at_each_shot(service):
    processor = opened()
    assert processor.measured_qubits == 5
    job = awaited(processor.submit(chain.asked([[0.1, 0.2]], 0), ["a-tag"]))
    sent = json.loads(text_of(job._job))["data"][0]["results"]
    assert sent["_meas"]["shape"][-1] == processor.measured_qubits
