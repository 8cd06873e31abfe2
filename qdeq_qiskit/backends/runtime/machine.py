"""Machines that hand their circuits to Runtime's estimator, job by job."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.machine import Machine, shift_rules
from qdeq_qiskit.backends.measurement import Measurement
from qdeq_qiskit.backends.runtime.errors import ProcessorError
from qdeq_qiskit.backends.runtime.estimation import (
    MAX_EXECUTIONS,
    estimator_options,
    jobs_of,
    with_shared_parameters,
)
from qdeq_qiskit.backends.runtime.isa import control_instructions, fold_angles
from qdeq_qiskit.backends.runtime.job import JobOutcome, JobRequest
from qdeq_qiskit.backends.runtime.joint_readout import JointReadout
from qdeq_qiskit.backends.runtime.qpu_time import JOB_OVERHEAD, Budget, QPUTime, circuit_duration
from qdeq_qiskit.noise.assignment_inversion import inverted_assignment
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.mitigation import MitigationCost, MitigationRecipe


@final
@dataclass(frozen=True)
class Execution:
    """How a processor repeats a circuit.

    Attributes:
        init_qubits: whether qubits are reset before each shot.
        rep_delay: seconds between shots; None for the processor's own.
        max_execution_time: seconds of the processor after which a job is cancelled; None for the service's own.
    """

    init_qubits: bool = True
    rep_delay: float | None = None
    max_execution_time: int | None = None


class JobMachine(Machine):
    """A compiled circuit whose rows go to the estimator in jobs; a subclass says who runs them.

    The covariance is that of `JointReadout`: variances as random circuits or shots show them, correlations between
    observables that are read from the same shots, and what trex's calibration and the extrapolation add, each to first
    order. That rows of one job share a calibration is not seen.

    A row's circuits, as other machines count them, are bases times noise factors, each of `shots`; those shots are
    shared by random circuits, and a job's calibration is on top.

    Args:
        compiled: the circuit.
        noise: on its wires, by the calibration: what `readout: matrix` inverts, and how sure trex's calibration is.
        recipe: what is done against noise.
        shots: of each circuit, in each basis and at each noise factor.
        seed: of what a simulator draws; None for a new one.
        execution: how a processor repeats a circuit.
        measured_qubits: read out at each shot; None for the circuit's wires.

    Attributes:
        cost: of one row and one calibration at `shots`, random circuits counted one by one.
        circuits_run: how many circuits ran so far, calibrations included.
        jobs_run: how many jobs.
    """

    shots: int

    def __init__(
        self,
        compiled: CompiledCircuit,
        noise: CircuitNoise,
        recipe: MitigationRecipe,
        *,
        shots: int,
        seed: int | None,
        execution: Execution,
        measured_qubits: int | None = None,
    ) -> None:
        observables = compiled.observables
        if recipe.readout == "matrix":
            observables = inverted_assignment(observables, noise)
        self.circuit = with_shared_parameters(compiled.circuit)
        self.rules = shift_rules(compiled.source)
        self.shots = shots
        self._readout = JointReadout.of(observables)
        self.cost = recipe.overhead(shots, num_bases=self._readout.num_bases)
        self.circuits_per_row = self.cost.configurations_per_row
        self.rows_run = self.shots_run = self.circuits_run = self.jobs_run = 0
        self._compiled, self._noise, self._recipe, self._execution = compiled, noise, recipe, execution
        self._measured_qubits = measured_qubits or compiled.num_qubits
        factors = recipe.zne.noise_factors if recipe.zne else (1.0,)
        self._duration = circuit_duration(compiled, init_qubits=execution.init_qubits, noise_factors=factors)
        self._instructions = control_instructions(compiled.circuit, noise_factor=math.fsum(factors) / len(factors))
        self._generator = np.random.default_rng(seed)

    @abstractmethod
    def outcomes(self, requests: Sequence[JobRequest]) -> list[dict[str, np.ndarray]]:
        """What the estimator answers to each request, as `estimation.outcome_of` gives it."""

    def run(self, angles: Tensor, *, shots: int | None = None) -> Measurement:
        rows = self._compiled.angles(angles.detach().cpu().double()).numpy()
        finite = np.flatnonzero(np.isfinite(rows).all(axis=1))
        outputs = len(self._readout.constants)
        values = torch.full((len(rows), outputs), torch.nan, dtype=torch.double)
        covariance = torch.zeros(len(rows), outputs, outputs, dtype=torch.double)
        if len(finite):
            cost = self._cost(shots)
            measured = self._measured(rows[finite], cost)
            values[finite], covariance[finite] = measured.values, measured.covariance
        return Measurement(values, covariance)

    def requests(self, rows: np.ndarray, cost: MitigationCost) -> list[JobRequest]:
        """The jobs for rows of the circuit's angles, (N, G'), finite; each with a seed of its own."""
        circuit, rows = fold_angles(self.circuit, rows)
        whole = JobRequest(
            circuit=circuit,
            observables=self._readout.strings,
            rows=rows,
            physical=self._compiled.physical,
            cost=cost,
            options=estimator_options(self._recipe, cost, **dataclasses.asdict(self._execution)),
            seed=0,
            duration=self._duration,
        )
        ends = np.cumsum(self.jobs(len(rows), cost))
        return [
            dataclasses.replace(whole, rows=part, seed=int(self._generator.integers(2**31)))
            for part in np.split(rows, ends[:-1])
        ]

    def jobs(self, rows: int, cost: MitigationCost) -> list[int]:
        """How many of some rows each job gets, if a row costs that."""
        return jobs_of(rows, cost, measured_qubits=self._measured_qubits, instructions=self._instructions)

    def _measured(self, rows: np.ndarray, cost: MitigationCost) -> Measurement:
        requests = self.requests(rows, cost)
        parts = [
            self._readout.measurement(arrays, self._recipe, cost, self._noise) for arrays in self.outcomes(requests)
        ]
        self.rows_run += len(rows)
        self.circuits_run += cost.circuits(len(rows), jobs=len(requests))
        self.shots_run += cost.total_shots(len(rows), jobs=len(requests))
        self.jobs_run += len(requests)
        return Measurement(torch.cat([each.values for each in parts]), torch.cat([each.covariance for each in parts]))

    def _cost(self, shots: int | None) -> MitigationCost:
        return self._recipe.overhead(shots or self.shots, num_bases=self.cost.num_bases)


class RunsRequests(Protocol):
    """Who answers requests, in their order, from a ledger or a processor.

    Attributes:
        budget: of the processor's seconds; None for no limit.
    """

    @property
    def budget(self) -> Budget | None: ...

    def run(self, requests: Sequence[JobRequest]) -> list[JobOutcome]: ...


@final
class RuntimeMachine(JobMachine):
    """A compiled circuit on a processor, or a calibrated copy of one, by way of a dispatcher.

    Args:
        compiled: the circuit, for that processor.
        dispatcher: answers requests.
        noise: on the circuit's wires, by the processor's calibration.
        recipe: what is done against noise.
        shots: of each circuit, in each basis and at each noise factor.
        seed: of what a simulator draws; None for a new one.
        execution: how the processor repeats a circuit.
        time: the formula of the processor's seconds.
        measured_qubits: read out at each shot; None for the circuit's wires.
    """

    def __init__(
        self,
        compiled: CompiledCircuit,
        dispatcher: RunsRequests,
        *,
        noise: CircuitNoise,
        recipe: MitigationRecipe,
        shots: int,
        seed: int | None,
        execution: Execution,
        time: QPUTime,
        measured_qubits: int | None = None,
    ) -> None:
        super().__init__(
            compiled,
            noise,
            recipe,
            shots=shots,
            seed=seed,
            execution=execution,
            measured_qubits=measured_qubits,
        )
        self._dispatcher, self._time = dispatcher, time
        _check_size(self.cost)
        self.shots_per_call = round(JOB_OVERHEAD / time.execution(self._duration))

    def outcomes(self, requests: Sequence[JobRequest]) -> list[dict[str, np.ndarray]]:
        for request in requests:
            _check_size(request.cost)
        return [outcome.arrays for outcome in self._dispatcher.run(requests)]

    def affords(self, calls: Sequence[tuple[int, int | None]]) -> bool:
        budget = self._dispatcher.budget
        return budget is None or budget.affords(sum(self._seconds(rows, shots) for rows, shots in calls))

    def _seconds(self, rows: int, shots: int | None) -> float:
        """What one call takes of the processor."""
        cost = self._cost(shots)
        return sum(self._time.job(cost.total_shots(each), self._duration) for each in self.jobs(rows, cost))


def _check_size(cost: MitigationCost) -> None:
    """Raises ProcessorError if a single row does not fit into a job."""
    executions = cost.total_shots(1)
    if executions > MAX_EXECUTIONS:
        raise ProcessorError(
            f"{cost.shots:,} shots of each circuit are {executions:,} executions for a single evaluation, with "
            f"{cost.configurations_per_row} circuits and what mitigation adds, and a job has at most "
            f"{MAX_EXECUTIONS:,}; take fewer shots"
        )
