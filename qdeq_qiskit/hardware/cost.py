"""What work on a processor will take, known beforehand by a rehearsal.

How many evaluations a fixed point takes depends on what is measured on the way. So the same work is done, by the same
code, on a copy of the processor: its calibration, its noise, as many shots, but other random numbers. What the copy is
asked for is counted, job by job, and priced by the formula of `backends.runtime.qpu_time`. A budget is not rehearsed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Self, final

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.kinds import Backend
from qdeq_qiskit.backends.kinds.ibm import IBMBackend
from qdeq_qiskit.backends.runtime.connection import Connection
from qdeq_qiskit.backends.runtime.job import JobOutcome, JobRequest
from qdeq_qiskit.backends.runtime.local import LocalProcessor
from qdeq_qiskit.backends.runtime.qpu_time import Budget, QPUTime
from qdeq_qiskit.backends.surrogate import ProbePlan
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.preparation import setting_up

_FURTHER_SEED = 1_000_003


@final
@dataclass(frozen=True)
class Prediction:
    """What some work will take.

    Attributes:
        circuits: over all jobs, those that mitigation adds included.
        executions: shots over all circuits.
        jobs: how many.
        qpu_seconds: of the processor, by the formula.
        first_job: of these the first job's, without which there is nothing.
        evaluations: of f for one sample, on average; None where samples are not evaluated one by one.
        duration: of one execution of the circuit in seconds; None if the processor does not say.
        formula: the formula with its numbers, in one line.
    """

    circuits: int
    executions: int
    jobs: int
    qpu_seconds: float
    first_job: float
    evaluations: float | None
    duration: float | None
    formula: str

    @classmethod
    def of(cls, requests: Sequence[JobCost], time: QPUTime, *, evaluations: float | None = None) -> Self:
        """The sum over jobs."""
        seconds = [time.job(each.executions, each.duration) for each in requests]
        executions = sum(each.executions for each in requests)
        duration = None
        if executions and all(each.duration is not None for each in requests):
            duration = sum((each.duration or 0.0) * each.executions for each in requests) / executions
        return cls(
            circuits=sum(each.circuits for each in requests),
            executions=executions,
            jobs=len(requests),
            qpu_seconds=sum(seconds),
            first_job=seconds[0] if seconds else 0.0,
            evaluations=evaluations,
            duration=duration,
            formula=time.formula(len(requests), executions, duration),
        )

    def figures(self) -> dict[str, Any]:
        """In plain values, for JSON."""
        return asdict(self)


@final
@dataclass(frozen=True)
class JobCost:
    """What one job takes.

    Attributes:
        circuits: calibrations included.
        executions: the same.
        duration: of one execution in seconds; None if not known.
    """

    circuits: int
    executions: int
    duration: float | None

    @classmethod
    def of(cls, request: JobRequest) -> Self:
        """That of the job that is asked for."""
        return cls(request.circuits, request.executions, request.duration)


def predict(classifier: QDEQClassifier, backend: IBMBackend, pixels: np.ndarray | Tensor) -> Prediction:
    """What the fixed points of some images will take on a processor, all of them in one batch.

    Args:
        classifier: a model, on whatever backend.
        backend: bound to a processor.
        pixels: (N, height, width).

    Raises:
        SetupError: the model, the solver or its budget of shots does not suit the backend.
    """
    images = torch.as_tensor(np.asarray(pixels))
    evaluations: list[float] = []

    def work(there: Backend) -> None:
        moved = classifier.on_backend(there).eval()
        with torch.no_grad():
            solution = moved.classify(moved.features(images)).solution
        evaluations.append(float(solution.evaluations.double().mean()))

    jobs, time = _rehearsed(work, backend)
    return Prediction.of(jobs, time, evaluations=evaluations[0])


def rehearse(work: Callable[[Backend], None], backend: IBMBackend) -> Prediction:
    """What some work will take on a processor.

    Args:
        work: does it, on the backend that it is given; with no other effect than what it asks of that.
        backend: bound to a processor.
    """
    return Prediction.of(*_rehearsed(work, backend))


def predict_probes(plan: ProbePlan, backend: IBMBackend) -> Prediction:
    """What it will take to measure a surrogate's operators: nothing there depends on what is measured.

    Args:
        plan: the preparations.
        backend: bound to a processor.
    """
    jobs = []
    for probe in plan.probes:
        machine = backend.machine_of(probe.compiled)
        rows = np.zeros((len(probe.preparations.angles), machine.circuit.num_parameters))
        jobs += [JobCost.of(request) for request in machine.requests(rows, machine.cost)]
    return Prediction.of(jobs, QPUTime(_connection(backend).processor.rep_delay))


def _rehearsed(work: Callable[[Backend], None], backend: IBMBackend) -> tuple[list[JobCost], QPUTime]:
    connection = _connection(backend)
    processor = connection.processor
    copy = LocalProcessor(connection.snapshot, rep_delay=processor.rep_delay, measured_qubits=processor.measured_qubits)
    counting = _Counting(copy)
    # A copy that runs the work itself, too, must not be predicted by the very shots that it will draw.
    other = backend.model_copy(update={"seed": (backend.seed or 0) + _FURTHER_SEED})
    # What a rehearsal refuses, such as a budget of shots below the least solve, the work itself would refuse.
    with _quietly(), setting_up():
        work(other.on(Connection(copy, connection.snapshot, counting)))
    return counting.jobs, QPUTime(copy.rep_delay)


def _connection(backend: IBMBackend) -> Connection:
    if backend.connection is None:
        raise ValueError(f"{backend.name}: a prediction is for the calibration of a processor: bind the backend to one")
    return backend.connection


class _Counting:
    """Answers requests from a copy of the processor, and puts down what they take."""

    budget: Budget | None = None

    def __init__(self, processor: LocalProcessor) -> None:
        self._processor = processor
        self.jobs: list[JobCost] = []

    def run(self, requests: Sequence[JobRequest]) -> list[JobOutcome]:
        self.jobs += [JobCost.of(each) for each in requests]
        return [self._processor.submit(each, []).outcome(each) for each in requests]


@contextmanager
def _quietly() -> Iterator[None]:
    """What a rehearsal would warn of, the work itself will."""
    logger = logging.getLogger("qdeq_qiskit")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
