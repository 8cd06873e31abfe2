"""A service in memory whose jobs answer by a closed formula, and which fails as it is told to."""

import itertools
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qdeq_qiskit.backends.runtime.errors import JobError
from qdeq_qiskit.backends.runtime.job import Job, JobOutcome, JobRequest, JobState, Processor
from qdeq_qiskit.backends.runtime.retries import TransientFault
from qdeq_qiskit.noise.mitigation import MitigationRecipe


def request(rows, *, seed=0, shots=100, name="a", label="ZI"):
    """A request of two rotations; parameters are new ones every time, as in another process."""
    angles = ParameterVector(name, 2)
    circuit = QuantumCircuit(2)
    circuit.rz(angles[0], 0)
    circuit.sx(0)
    circuit.cz(0, 1)
    circuit.rz(angles[1], 1)
    cost = MitigationRecipe().overhead(shots, num_bases=1)
    return JobRequest(
        circuit, (SparsePauliOp(label),), np.asarray(rows, dtype=float), (3, 4), cost, {"default_shots": shots}, seed
    )


def answer(of):
    """What a job returns: anything that says which request it was."""
    return np.cos(of.rows.sum(axis=1))[None, :] + of.seed


@dataclass
class ScriptedService:
    """Jobs that outlive the client, what was evaluated, and the faults to come.

    `faults[verb]` is a list of what the next calls of a verb do: None for nothing, or a callable that raises.
    """

    faults: dict = field(default_factory=dict)
    jobs: list = field(default_factory=list)
    evaluated: Counter = field(default_factory=Counter)
    calls: Counter = field(default_factory=Counter)
    states: list = field(default_factory=list)  # of the next jobs, each a list of states, one for each time it is asked
    reason: str | None = None
    usage_is_pending: bool = False
    lag: int = 0  # how often a listing does not show a new job

    def happens(self, verb):
        self.calls[verb] += 1
        script = self.faults.get(verb, [])
        fault = script.pop(0) if script else None
        if fault is not None:
            fault()


def raises(error):
    def fault():
        raise error

    return fault


LOST = raises(TransientFault("connection lost"))


class ScriptedJob(Job):
    def __init__(self, service, number, of, tag):
        self.id, self._service, self._request, self.tag = f"job-{number}", service, of, tag
        self._states = list(service.states.pop(0)) if service.states else [JobState.RUNNING, JobState.DONE]
        self.hidden = service.lag
        self.state_now = JobState.QUEUED

    def state(self):
        self._service.happens("state")
        if self._states and self.state_now is not JobState.CANCELLED:
            before, self.state_now = self.state_now, self._states.pop(0)
            if self.state_now is JobState.DONE and before is not JobState.DONE:
                self._service.evaluated[self._request.seed, self._request.rows.tobytes()] += 1
        return self.state_now

    def reason(self):
        return self._service.reason

    def outcome(self, request):
        self._service.happens("outcome")
        return JobOutcome({"evs": answer(self._request)}, None if self._service.usage_is_pending else 2.5)

    def qpu_seconds(self):
        return 2.5

    def cancel(self):
        self._service.happens("cancel")
        if self.state_now in (JobState.QUEUED, JobState.RUNNING):
            self.state_now = JobState.CANCELLED


class ScriptedProcessor(Processor):
    is_local = False
    rep_delay = 250e-6
    name = "ibm_scripted"
    target = None

    def __init__(self, service, *, is_local=False):
        self.service, self.is_local = service, is_local
        self._numbers = itertools.count(len(service.jobs))

    def submit(self, request, tags):
        self.service.happens("submit")
        job = ScriptedJob(self.service, next(self._numbers), request, tags[0])
        self.service.jobs.append(job)
        self.service.happens("acknowledge")
        return job

    def find(self, tag):
        self.service.happens("find")
        found = [job for job in self.service.jobs if job.tag == tag]
        shown = [job for job in found if job.hidden <= 0]
        for job in found:
            job.hidden -= 1
        return shown

    def job(self, job_id):
        self.service.happens("job")
        return next((job for job in self.service.jobs if job.id == job_id and not self.is_local), None)


def missing():
    raise JobError("job has no result")
