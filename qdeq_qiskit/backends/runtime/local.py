"""A processor on this machine: a calibrated copy of one, simulated on the wires that a circuit uses."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import final

import numpy as np
from qiskit import QuantumCircuit
from qiskit.providers import BackendV2
from qiskit.transpiler import Target

from qdeq_qiskit.backends.mitigated import noisy_simulator
from qdeq_qiskit.backends.placement import restricted
from qdeq_qiskit.backends.runtime.estimation import outcome_of, result_of, run_estimator
from qdeq_qiskit.backends.runtime.job import Job, JobOutcome, JobRequest, JobState, Processor
from qdeq_qiskit.backends.runtime.qpu_time import REP_DELAY
from qdeq_qiskit.noise.compiled_gates import circuit_gates
from qdeq_qiskit.noise.snapshots import Snapshot, fake_backends


@final
class LocalProcessor(Processor):
    """Runs jobs at once, with the calibrated noise of the wires in use.

    Wires relax while they wait where the circuit says that they do, by delays, or where pulses are put there.

    Args:
        snapshot: the processor's calibration.
        rep_delay: seconds between two executions, of which a simulator has none.
        measured_qubits: of the processor that it stands for, so that jobs are divided as there; None for the wires in
            use.
    """

    is_local = True

    def __init__(self, snapshot: Snapshot, *, rep_delay: float = REP_DELAY, measured_qubits: int | None = None) -> None:
        self.name, self.target, self.rep_delay = snapshot.name, snapshot.target, rep_delay
        self.measured_qubits = measured_qubits
        self._snapshot = snapshot
        self._simulators: dict[object, BackendV2] = {}

    @classmethod
    def fake(cls, name: str, *, rep_delay: float | None = None) -> LocalProcessor:
        """The copy of a processor that ships with Qiskit Runtime.

        Args:
            name: such as `fake_torino`.
            rep_delay: seconds between two executions; None for what the processor has.

        Raises:
            ValueError: there is none of that name.
        """
        snapshot = Snapshot.fake(name)
        if rep_delay is None:
            rep_delay = getattr(fake_backends()[name](), "default_rep_delay", None)
        return cls(snapshot, rep_delay=REP_DELAY if rep_delay is None else rep_delay)

    def submit(self, request: JobRequest, tags: list[str]) -> LocalJob:
        job = run_estimator(self._simulator(request), request, seed=request.seed)
        return LocalJob(f"local-{uuid.uuid4()}", outcome_of(result_of(job), request))

    def find(self, tag: str) -> list[Job]:
        return []

    def job(self, job_id: str) -> Job | None:
        return None

    def _simulator(self, request: JobRequest) -> BackendV2:
        """Made once for all requests that differ in angles, shots and observables only."""
        circuit, physical = request.circuit, request.physical
        decoupled = request.options.get("dynamical_decoupling", {}).get("enable", False)
        waits = decoupled or circuit.count_ops().get("delay", 0) > 0
        key = (physical, frozenset(circuit_gates(circuit)), decoupled, waits)
        if key not in self._simulators:
            wires = _Wires(circuit, physical, restricted(self.target, physical))
            noise = self._snapshot.noise(wires, idle_relaxation=waits)
            self._simulators[key] = noisy_simulator(noise, wires.target if decoupled else None)
        return self._simulators[key]


@dataclass(frozen=True, eq=False)
class _Wires:
    """What a snapshot's noise is made for."""

    circuit: QuantumCircuit
    physical: tuple[int, ...]
    target: Target


@final
class LocalJob(Job):
    """A job that is done."""

    def __init__(self, job_id: str, arrays: dict[str, np.ndarray]) -> None:
        self.id = job_id
        self._arrays = arrays

    def state(self) -> JobState:
        return JobState.DONE

    def reason(self) -> str | None:
        return None

    def outcome(self, request: JobRequest) -> JobOutcome:
        return JobOutcome(self._arrays, qpu_seconds=0.0)

    def qpu_seconds(self) -> float | None:
        return 0.0

    def cancel(self) -> None:
        """Nothing is left to be cancelled."""
