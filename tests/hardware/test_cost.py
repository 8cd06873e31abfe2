"""What work on a processor is predicted to take, against what it takes on a copy of one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qdeq_qiskit.backends import ExactBackend
from qdeq_qiskit.backends.kinds import Backend
from qdeq_qiskit.backends.kinds.ibm import IBMBackend
from qdeq_qiskit.backends.runtime.job import Job, JobRequest
from qdeq_qiskit.backends.runtime.local import LocalProcessor
from qdeq_qiskit.backends.surrogate import plan_probes
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.hardware.cost import Prediction, predict, predict_probes, rehearse
from qdeq_qiskit.models import ModelRecipe, QDEQClassifier
from qdeq_qiskit.models.features import Features, Pooling
from qdeq_qiskit.training.errors import SetupError

SAMPLES = 12


def circuit() -> QNNCircuit:
    return QNNCircuit.compose(amplitude_encoder(4, 16), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)


def classifier() -> QDEQClassifier:
    model = ModelRecipe(penalty=None, features=Features(pool=Pooling(kernel=1)))
    return QDEQClassifier(circuit(), backend=ExactBackend(), num_classes=4, model=model, seed=3)


def images() -> np.ndarray:
    return np.random.default_rng(0).random((SAMPLES, 4, 4)).astype(np.float32)


def bound(**options: object) -> IBMBackend:
    backend = IBMBackend.model_validate({"name": "fake_manila", "shots": 128, **options})
    return backend.on(backend.open(4))


@pytest.mark.parametrize(
    "options", [{}, {"mitigation": {"readout": "trex", "randomizations": 4}}], ids=["plain", "trex"]
)
def test_a_prediction_is_close_to_what_the_work_takes(options: dict[str, object]) -> None:
    backend = bound(**options)
    prediction = predict(classifier(), backend, images())
    there = classifier().on_backend(backend).eval()
    with torch.no_grad():
        solution = there.classify(there.features(torch.from_numpy(images()))).solution
    machine = there.equilibrium.layer.machine
    assert machine.jobs_run > 1
    assert machine.shots_run != prediction.executions  # by other shots
    # A dozen samples at few shots: where counts of shots are made equal for a common job, they differ by leaps.
    assert prediction.executions == pytest.approx(machine.shots_run, rel=0.35)
    assert prediction.circuits == pytest.approx(machine.circuits_run, rel=0.3)
    assert abs(prediction.jobs - machine.jobs_run) <= 2
    used = 2.0 * machine.jobs_run + machine.shots_run * (250e-6 + prediction.duration)
    assert prediction.qpu_seconds == pytest.approx(used, rel=0.35)
    assert prediction.evaluations == pytest.approx(float(solution.evaluations.double().mean()), rel=0.3)


def test_a_rehearsal_asks_nothing_of_the_processor_and_counts_every_job(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = bound()
    connection = backend.connection
    assert connection is not None

    def refuse(self: LocalProcessor, request: JobRequest, tags: list[str]) -> Job:
        assert self is not connection.processor
        return submit(self, request, tags)

    submit = LocalProcessor.submit
    monkeypatch.setattr(LocalProcessor, "submit", refuse)

    def work(there: Backend) -> None:
        assert isinstance(there, IBMBackend)
        machine = there.machine(circuit())
        angles = torch.zeros(3, len(machine.rules), dtype=torch.double)
        machine.run(angles)
        machine.run(angles[:1], shots=1000)

    prediction = rehearse(work, backend)
    assert (prediction.jobs, prediction.circuits, prediction.executions) == (2, 4, 3 * 128 + 1000)
    execution = 250e-6 + prediction.duration
    assert prediction.qpu_seconds == pytest.approx(4 + (3 * 128 + 1000) * execution)
    assert prediction.first_job == pytest.approx(2 + 3 * 128 * execution)
    assert prediction.evaluations is None
    assert prediction.figures()["formula"].startswith("2 jobs × 2 s + 1,384 executions")


def test_a_budget_does_not_hide_what_the_work_would_take() -> None:
    free = predict(classifier(), bound(), images())
    short = predict(classifier(), bound(max_qpu_seconds=3), images())
    assert short == free


def test_a_surrogates_preparations_are_counted_one_by_one() -> None:
    backend, qnn = bound(), circuit()
    assert backend.connection is not None
    plan = plan_probes(qnn, backend.compile(qnn), backend.connection.snapshot.noise)
    prediction = predict_probes(plan, backend)
    assert (prediction.circuits, prediction.executions, prediction.jobs) == (256, 256 * 128, 1)
    assert prediction.first_job == prediction.qpu_seconds


def test_work_that_asks_for_nothing_takes_nothing_and_a_backend_must_be_bound() -> None:
    nothing = rehearse(lambda backend: None, bound())
    assert isinstance(nothing, Prediction)
    assert (nothing.jobs, nothing.qpu_seconds, nothing.first_job, nothing.duration) == (0, 0, 0, None)
    with pytest.raises(ValueError, match="bind the backend to one"):
        rehearse(lambda backend: None, IBMBackend(name="fake_manila", shots=10))


def test_a_solver_that_cannot_do_the_work_is_refused_when_it_is_rehearsed() -> None:
    with pytest.raises(SetupError, match="max_shots=100 is less than the 256 shots"):
        predict(classifier(), bound(solver={"kind": "sampled", "jacobian": "noiseless", "max_shots": 100}), images())
