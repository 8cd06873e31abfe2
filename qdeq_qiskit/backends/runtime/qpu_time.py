r"""Seconds that a processor is locked for our jobs: what they will take, and what a budget has left.

IBM's baseline formula for the usage of a job, before it is submitted ("Workload usage", section "Estimate usage before
submitting a job", https://quantum.cloud.ibm.com/docs/guides/estimate-job-run-time):

    seconds = overhead + (rep_delay + circuit length) · executions

- overhead: about 2 s a job, for loading it into the control electronics. What is charged for a job that the service
  divides, because it is too large to be processed at once, is 2 s more for each part; ours are kept below that size.
- rep_delay: the pause before each execution, 250 µs on most processors (`backend.default_rep_delay`).
- circuit length: reset, gates and measurement of one execution, from the target's durations. Where these are not
  known, 100 µs, the figure that IBM's quick formula 2 + 0.00035 · executions has for it.
- executions: circuits × shots, those that mitigation adds included.

A session is charged by the time that it is open, waiting included, so there the formula gives the least.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import final

from qiskit.circuit import CircuitInstruction
from qiskit.transpiler import Target

from qdeq_qiskit.backends.compiled import CompiledCircuit, is_two_qubit_gate
from qdeq_qiskit.backends.placement import seconds
from qdeq_qiskit.backends.runtime.errors import BudgetError
from qdeq_qiskit.backends.runtime.job import JobRequest

JOB_OVERHEAD = 2.0
"""Seconds of a job beside its executions."""

REP_DELAY = 250e-6
"""Seconds between two executions, where the processor does not say."""

CIRCUIT_LENGTH = 100e-6
"""Seconds of one execution, where the target does not say."""


@final
@dataclass(frozen=True)
class QPUTime:
    """The formula above for one processor.

    Attributes:
        rep_delay: seconds before each execution.
    """

    rep_delay: float = REP_DELAY

    def job(self, executions: int, duration: float | None = None) -> float:
        """Seconds of one job.

        Args:
            executions: shots over all its circuits.
            duration: of one execution in seconds, as `circuit_duration` gives it; None if not known.
        """
        return JOB_OVERHEAD + executions * self.execution(duration)

    def of(self, request: JobRequest) -> float:
        """Seconds of the job that is asked for."""
        return self.job(request.executions, request.duration)

    def execution(self, duration: float | None = None) -> float:
        """Seconds of one execution, the pause before it included."""
        return self.rep_delay + (CIRCUIT_LENGTH if duration is None else duration)

    def formula(self, jobs: int, executions: int, duration: float | None = None) -> str:
        """The formula with its numbers, in one line."""
        length = CIRCUIT_LENGTH if duration is None else duration
        total = jobs * JOB_OVERHEAD + executions * self.execution(duration)
        counted = "1 job" if jobs == 1 else f"{jobs:,} jobs"
        return (
            f"{counted} × {JOB_OVERHEAD:g} s + {executions:,} executions × ({1e6 * self.rep_delay:.0f} µs "
            f"rep_delay + {1e6 * length:.1f} µs circuit{' (assumed)' if duration is None else ''}) = {total:,.1f} s"
        )


def circuit_duration(
    compiled: CompiledCircuit, *, init_qubits: bool = True, noise_factors: Sequence[float] = (1.0,)
) -> float | None:
    """Seconds of one execution: reset, the longest path through the gates, and measurement.

    The few gates that turn a basis before the measurement are left out, as are pulses of dynamical decoupling, which
    fill times of waiting.

    Args:
        compiled: the circuit on the wires in use.
        init_qubits: whether the wires are reset first.
        noise_factors: of zero-noise extrapolation, if there is any; two-qubit gates are repeated so many times, and
            the mean over the factors is given.

    Returns:
        None where the target does not give the duration of a gate that is used, or of the measurement.
    """
    target = compiled.target
    if target is None:
        return None
    wires = range(compiled.num_qubits)
    readout = _longest(target, "measure", wires)
    reset = _longest(target, "reset", wires) if init_qubits else 0.0
    paths = [_longest_path(compiled, target, factor) for factor in noise_factors]
    if readout is None or any(path is None for path in paths):
        return None
    # Not every target lists a reset, which then takes about as long as the measurement that it is made of.
    return (readout if reset is None else reset) + math.fsum(path for path in paths if path) / len(paths) + readout


def _longest_path(compiled: CompiledCircuit, target: Target, factor: float) -> float | None:
    """Seconds from the first gate to the last, every gate as soon as its wires are free."""
    ends = [0.0] * compiled.num_qubits
    for instruction in compiled.circuit.data:
        wires = [compiled.circuit.find_bit(qubit).index for qubit in instruction.qubits]
        length = _duration(target, instruction, tuple(wires))
        if length is None:
            return None
        end = max(ends[wire] for wire in wires) + length * (factor if is_two_qubit_gate(instruction) else 1.0)
        for wire in wires:
            ends[wire] = end
    return max(ends, default=0.0)


def _duration(target: Target, instruction: CircuitInstruction, wires: tuple[int, ...]) -> float | None:
    operation = instruction.operation
    if operation.name == "barrier":
        return 0.0
    if operation.name == "delay":
        return seconds(operation, target)
    return _calibrated(target, operation.name, wires)


def _longest(target: Target, name: str, wires: Sequence[int]) -> float | None:
    """The duration of an operation on the slowest of some wires; None if it is not known for all."""
    found = [_calibrated(target, name, (wire,)) for wire in wires]
    known = [each for each in found if each is not None]
    return max(known, default=0.0) if len(known) == len(found) else None


def _calibrated(target: Target, name: str, wires: tuple[int, ...]) -> float | None:
    by_wires = (target[name] or {}) if name in target.operation_names else {}
    return getattr(by_wires.get(wires), "duration", None)


@final
class Budget:
    """The most seconds of a processor that some work may take, and how many of them are gone.

    Each job is charged by its prediction from when it is submitted, and by what its owner charges once that is known.

    Args:
        max_seconds: the most; positive.

    Attributes:
        refusals: how often `affords` said no.
    """

    def __init__(self, max_seconds: float) -> None:
        if not 0 < max_seconds < math.inf:
            raise ValueError(f"max_qpu_seconds must be a positive number of seconds, not {max_seconds!r}")
        self.max_seconds = max_seconds
        self.refusals = 0
        self._charges: dict[Hashable, float] = {}

    @property
    def spent(self) -> float:
        """Seconds that are gone: used where that is known, else predicted."""
        return math.fsum(self._charges.values())

    @property
    def left(self) -> float:
        """Seconds that are left; negative where jobs took longer than predicted."""
        return self.max_seconds - self.spent

    def affords(self, seconds: float) -> bool:
        """Whether so many more seconds are left."""
        enough = seconds <= self.left
        self.refusals += not enough
        return enough

    def require(self, seconds: float) -> None:
        """Raises BudgetError if so many more seconds are not left."""
        if not self.affords(seconds):
            raise BudgetError(
                f"the next job would take about {seconds:.1f} s of the processor, and of max_qpu_seconds = "
                f"{self.max_seconds:g} s only {max(self.left, 0.0):.1f} s are left: raise max_qpu_seconds, or take "
                "fewer samples or shots (a solve keeps the budget that it began with, so `qdeq cancel` it first)"
            )

    def charge(self, job: Hashable, seconds: float) -> None:
        """Puts down what a job takes, in place of what was put down for it before.

        Args:
            job: any key of its own; each attempt at a job is one.
            seconds: predicted or used.
        """
        self._charges[job] = seconds
