"""The nouns that estimation, processors and the ledger share: a request for one job, the job, and what came of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import Target

from qdeq_qiskit.noise.mitigation import MitigationCost


@dataclass(frozen=True, eq=False)
class JobRequest:
    """One job of one PUB: a compiled circuit at some rows of angles, all observables at once.

    Attributes:
        circuit: in native gates on n wires, with plain parameters, without measurements.
        observables: on the n wires; those that commute wire by wire are read from the same shots.
        rows: angles of the circuit's parameters, in their order, (N, G'), in radians, finite.
        physical: the processor's qubit of each wire.
        cost: how many circuits and shots that takes, mitigation included.
        options: of the estimator, as `EstimatorOptions` takes them, without tags and seeds; plain values, as in JSON.
        seed: of whatever a simulator draws; a processor has no use for it.
        duration: of one execution of the circuit in seconds, measurement included; None if the processor does not say.
    """

    circuit: QuantumCircuit
    observables: tuple[SparsePauliOp, ...]
    rows: np.ndarray
    physical: tuple[int, ...]
    cost: MitigationCost
    options: dict[str, Any]
    seed: int
    duration: float | None = None

    @property
    def circuits(self) -> int:
        """Circuits of the job, calibrations included."""
        return self.cost.circuits(len(self.rows))

    @property
    def executions(self) -> int:
        """Shots of the job over all its circuits, calibrations included."""
        return self.cost.total_shots(len(self.rows))


@dataclass(frozen=True, eq=False)
class JobOutcome:
    """What the estimator returned for a job.

    Attributes:
        arrays: by name, such as `evs` and `stds`, as `estimation.outcome_of` found them.
        qpu_seconds: what the processor's owner charges; None while that is not known, 0 for a simulator.
    """

    arrays: dict[str, np.ndarray]
    qpu_seconds: float | None


class JobState(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(ABC):
    """A job that a processor knows."""

    id: str

    @abstractmethod
    def state(self) -> JobState:
        """Where it is now."""

    @abstractmethod
    def reason(self) -> str | None:
        """Why it failed or was cancelled, in the service's words; None if it was not, or nobody said."""

    @abstractmethod
    def outcome(self, request: JobRequest) -> JobOutcome:
        """What came out of a job that is done.

        Args:
            request: what it was asked for: a job that was found again by its tag does not know.

        Raises:
            JobError: the result is missing, or is not what was asked for.
        """

    @abstractmethod
    def qpu_seconds(self) -> float | None:
        """What its owner charges; None while that is not known, which may be a while after its end."""

    @abstractmethod
    def cancel(self) -> None:
        """Ask for it not to be run; a job that is finished stays what it is."""


class Processor(ABC):
    """Who runs jobs. Transient faults of a network are exceptions; `dispatch` tries again.

    Attributes:
        name: the processor's own, such as `ibm_torino` or `fake_torino`.
        target: its gates, coupling, durations and errors.
        is_local: whether jobs run in this process, so that they end with it.
        rep_delay: seconds between two executions.
        measured_qubits: read out at each shot, used or not; None where only the wires in use are.
        instance: of the service, by its CRN, that has the jobs; None where there is none.
    """

    name: str
    target: Target
    is_local: bool
    rep_delay: float
    measured_qubits: int | None = None
    instance: str | None = None

    @abstractmethod
    def submit(self, request: JobRequest, tags: list[str]) -> Job:
        """Hand a job in. The first of its tags is its own, by which `find` finds it."""

    @abstractmethod
    def find(self, tag: str) -> list[Job]:
        """The jobs that carry a tag, oldest first; none on a local processor, whose jobs end with the process."""

    @abstractmethod
    def job(self, job_id: str) -> Job | None:
        """The job of that name, if the processor knows it."""

    def close(self) -> None:  # noqa: B027 (most have nothing to let go of)
        """Let go of what it holds, such as a session at the service, which is charged while it is open; jobs go on."""
