"""Mitigation by IBM Runtime's client-side estimator, on Aer with the noise of the wires in use.

The estimator twirls, folds, decouples, calibrates the readout and extrapolates on the client, so what it does to a
processor's circuits it does to simulated ones too. What would be without effect locally is refused, with the reason.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from torch import Tensor

from qdeq_qiskit.backends.aer import require_aer
from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.machine import Machine, shift_rules
from qdeq_qiskit.backends.measurement import Measurement
from qdeq_qiskit.backends.mitigated_variances import calibration_variance, extrapolated_variance
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.noise.assignment_inversion import inverted_assignment, readout_lines
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.mitigation import MitigationCost, MitigationRecipe

if TYPE_CHECKING:
    from qiskit_ibm_runtime.executor_estimator import Estimator

# What qiskit_mitigation folds, and what samplomatic twirls.
_FOLDED = frozenset({"ecr", "cx", "cy", "cz", "swap"})
_TWIRLED = frozenset({"ecr", "cx", "cz"})
_SHARED = ParameterVector("c", 0)
# Outcomes of one job, one byte a bit: rows are divided among jobs beyond that.
_BYTES_PER_JOB = 2**28


def readout_corrected(compiled: CompiledCircuit, noise: CircuitNoise) -> CompiledCircuit:
    """The circuit with observables that undo the readout's errors (`readout: matrix`), on any route that has them."""
    return dataclasses.replace(compiled, observables=inverted_assignment(compiled.observables, noise))


def mitigated_machine(
    compiled: CompiledCircuit, noise: CircuitNoise, recipe: MitigationRecipe, *, shots: int | None, seed: int | None
) -> MitigatedMachine:
    """A machine that runs the compiled circuit with its noise on Aer, through IBM Runtime's estimator.

    Args:
        compiled: the circuit; its native gates must have rz and sx.
        noise: on the circuit's wires.
        recipe: what is done against the noise.
        shots: of each circuit, in each basis and at each noise factor.
        seed: of everything random; None for a new one every time.

    Raises:
        ValueError: an option cannot be honoured; the message says why.
    """
    check_mitigation(compiled, noise, recipe, shots)
    assert shots is not None
    return MitigatedMachine(compiled, noise, recipe, shots, seed)


def check_mitigation(
    compiled: CompiledCircuit, noise: CircuitNoise, recipe: MitigationRecipe, shots: int | None
) -> None:
    """Raises ValueError if an option of the recipe cannot be honoured for this circuit and noise."""
    check_shots(recipe, shots)
    native = {*compiled.target.operation_names} if compiled.target is not None else {*(compiled.basis_gates or ())}
    if missing := {"rz", "sx"} - native:
        raise ValueError(
            f"mitigation: Runtime's estimator puts rz and sx before measurements and around twirled gates, but "
            f"{' and '.join(sorted(missing))} is not native here, so the noise would not touch them; compile to basis "
            "gates that have both, such as rz, sx, x, cz"
        )
    couplings = {name for name, qubits in compiled.gates() if len(qubits) > 1}
    if recipe.zne is not None:
        _check_couplings("zne", "folds", couplings, _FOLDED)
    if recipe.twirling is not None:
        _check_couplings("twirling", "twirls", couplings, _TWIRLED)
    if recipe.dynamical_decoupling is not None:
        _check_decoupling(compiled, noise, recipe.dynamical_decoupling)
    if recipe.readout != "none":
        readout_lines(compiled.observables, noise)


def check_shots(recipe: MitigationRecipe, shots: int | None) -> None:
    """Raises ValueError if an option takes shots and there are none: known before anything is compiled."""
    if shots is None and recipe.needs_estimator:
        raise ValueError(
            f"mitigation {recipe.describe()} runs circuits with shots, and shots is null (exact expectation values); "
            "set shots, or take readout: matrix, which acts on exact values too"
        )
    if shots is not None and shots < 1:
        raise ValueError(f"mitigation: shots must be at least 1, not {shots}")


def _check_couplings(option: str, does: str, couplings: set[str], able: frozenset[str]) -> None:
    if unable := couplings - able:
        raise ValueError(
            f"{option}: it {does} {', '.join(sorted(able))}, but the compiled circuit has {', '.join(sorted(unable))}, "
            "whose noise would stay as it is; compile to one of the former"
        )
    if not couplings:
        raise ValueError(f"{option}: it {does} two-qubit gates, and the compiled circuit has none")


def _check_decoupling(compiled: CompiledCircuit, noise: CircuitNoise, sequence: str) -> None:
    option = "dynamical_decoupling"
    if compiled.target is None:
        raise ValueError(f"{option}: how long a wire waits is known from a processor's durations, and there is none")
    if compiled.target.dt is None or "x" not in compiled.target.operation_names:
        raise ValueError(f"{option}: the processor must have an x gate and a time step dt to place pulses on")
    if not noise.idle:
        raise ValueError(
            f"{option}: no wire relaxes while it waits in this noise, so there is nothing to decouple and the pulses "
            "would only add their errors; a snapshot has it with idle_relaxation: true"
        )
    if not _has_room(compiled, sequence):
        raise ValueError(
            f"{option}: no wire waits long enough for a sequence {sequence}, so there would not be a single pulse"
        )


def _has_room(compiled: CompiledCircuit, sequence: str) -> bool:
    """Whether the estimator's own pass puts pulses into the circuit."""
    from qiskit_ibm_runtime.executor.dynamical_decoupling import generate_dd_pass_manager
    from qiskit_ibm_runtime.options_models import DynamicalDecouplingOptions

    require_aer()
    from qiskit_aer import AerSimulator

    options = DynamicalDecouplingOptions(enable=True, sequence_type=sequence)
    measured = compiled.circuit.copy()
    measured.measure_all()
    decoupled = generate_dd_pass_manager(AerSimulator(target=compiled.target), options).run(measured)
    return bool(decoupled.count_ops().get("x", 0) > measured.count_ops().get("x", 0))


@final
class MitigatedMachine(Machine):
    """Runtime's estimator in local mode; made by `mitigated_machine`.

    Standard errors are the spread over random circuits, or that of shots where there is one circuit, with the
    uncertainty of trex's calibration and of the extrapolation, each to first order. As an estimator gives no more, the
    covariance is diagonal: correlations between observables that are read from the same shots are not seen, nor is
    that of rows that share a calibration.

    A row's circuits, as other machines count them, are bases times noise factors, each of `shots`; those shots are
    shared by random circuits, and a job's calibration is on top.

    Attributes:
        cost: of one row and one calibration at `shots`, random circuits counted one by one.
        circuits_run: how many circuits ran so far, calibrations included.
        jobs_run: how many jobs.
    """

    def __init__(
        self, compiled: CompiledCircuit, noise: CircuitNoise, recipe: MitigationRecipe, shots: int, seed: int | None
    ) -> None:
        observables = compiled.observables
        if recipe.readout == "matrix":
            observables = inverted_assignment(observables, noise)
        self.circuit = _with_shared_parameters(compiled.circuit)
        self.rules = shift_rules(compiled.source)
        self.shots = shots
        self.cost = recipe.overhead(shots, num_bases=Readout(observables).num_bases)
        self.circuits_per_row = self.cost.configurations_per_row
        self.rows_run = self.shots_run = self.circuits_run = self.jobs_run = 0
        self._compiled, self._recipe = compiled, recipe
        self._observables = [[observable] for observable in observables]
        # No value is off by more than its observable can be: where a fit is nearly singular, that is what is known.
        self._largest = np.array([[np.abs(observable.coeffs).sum() ** 2] for observable in observables])
        self._lines = readout_lines(observables, noise) if recipe.readout == "trex" else None
        self._simulator = _simulator(compiled, noise, recipe)
        self._generator, self._seeded = np.random.default_rng(seed), seed is not None

    def run(self, angles: Tensor, *, shots: int | None = None) -> Measurement:
        rows = self._compiled.angles(angles.detach().cpu().double()).numpy()
        finite = np.flatnonzero(np.isfinite(rows).all(axis=1))
        values = np.full((len(rows), len(self._observables)), np.nan)
        variances = values.copy()
        cost = self._recipe.overhead(shots or self.cost.shots, num_bases=self.cost.num_bases)
        for some in _divided(finite, cost.shots_per_row * self.circuit.num_qubits):
            values[some], variances[some] = self._job(rows[some], cost)
        return Measurement(torch.as_tensor(values), torch.diag_embed(torch.as_tensor(variances)))

    def _job(self, rows: np.ndarray, cost: MitigationCost) -> tuple[np.ndarray, np.ndarray]:
        """Values and variances, (N, K), of rows of the circuit's angles."""
        pub = (self.circuit, self._observables, rows)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No positive, finite standard errors")  # of the identity
            result = self._estimator(cost).run([pub]).result()[0]
        data = result.data
        values = np.atleast_2d(data.evs).T
        if not np.isfinite(values).all():
            raise RuntimeError("the estimator returned expectation values that are not finite")
        # Runtime divides the spread over R circuits by R where an unbiased variance has R − 1.
        unbiased = cost.randomizations / max(cost.randomizations - 1, 1)
        if self._recipe.zne is None:
            variances = data.stds**2 * unbiased
        else:
            # With one circuit a factor, Runtime's spread over circuits is that of a single shot.
            spread = data.stds_noise_factors if cost.randomizations > 1 else data.ensemble_stds_noise_factors
            errors = spread**2 * unbiased
            curves = result.metadata["resilience"]["zne"]["extrapolators"]
            variances = extrapolated_variance(
                self._recipe.zne, curves != "linear", data.evs, data.evs_noise_factors, errors
            )
            variances = np.minimum(variances, self._largest)
        variances = np.atleast_2d(variances).T
        if self._lines is not None:
            variances = variances + calibration_variance(self._lines, values, cost)
        self.rows_run += len(rows)
        self.circuits_run += cost.circuits(len(rows))
        self.shots_run += cost.total_shots(len(rows))
        self.jobs_run += 1
        return values, variances

    def _estimator(self, cost: MitigationCost) -> Estimator:
        from qiskit_ibm_runtime.executor_estimator import Estimator

        recipe = self._recipe
        options: dict[str, Any] = {
            "resilience_level": 0,
            "default_shots": cost.shots,
            # By default angles are rounded to 1e-5 of a quarter turn.
            "simulator": {"seed_simulator": self._next_seed(), "angle_decimals": 15},
            "resilience": {"measure_mitigation": recipe.readout == "trex", "zne_mitigation": recipe.zne is not None},
            "twirling": {
                "enable_gates": recipe.twirling is not None,
                "enable_measure": recipe.readout == "trex",
                "num_randomizations": cost.randomizations,
                "shots_per_randomization": cost.shots_per_circuit,
            },
        }
        if recipe.zne is not None:
            exponential = recipe.zne.extrapolator == "exponential"
            options["resilience"]["zne"] = {
                **recipe.zne.model_dump(),
                "extrapolator": ("exponential", "linear") if exponential else recipe.zne.extrapolator,
            }
        if recipe.twirling is not None:
            options["twirling"]["strategy"] = recipe.twirling.strategy
        if recipe.dynamical_decoupling is not None:
            options["dynamical_decoupling"] = {"enable": True, "sequence_type": recipe.dynamical_decoupling}
        return Estimator(mode=self._simulator, options=options)

    def _next_seed(self) -> int | None:
        """A new seed for each job: with one seed, every job would repeat the same shots."""
        return int(self._generator.integers(2**31)) if self._seeded else None


def _with_shared_parameters(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit with parameters that all such circuits have in common.

    Samplomatic keeps a table of what it has tagged, which fails at the 14th circuit that looks like an earlier one but
    has parameters of its own.
    """
    if len(_SHARED) < circuit.num_parameters:
        _SHARED.resize(circuit.num_parameters)
    return circuit.assign_parameters(dict(zip(circuit.parameters, _SHARED, strict=False)))


def _simulator(compiled: CompiledCircuit, noise: CircuitNoise, recipe: MitigationRecipe) -> Any:
    require_aer()
    from qdeq_qiskit.backends.reseeding import ReseedingSimulator

    if recipe.dynamical_decoupling is None:
        return ReseedingSimulator(noise_model=noise.to_aer())
    assert compiled.target is not None
    # The estimator schedules in units of dt, which noise that no recipe built need not know.
    timed = dataclasses.replace(noise, dt=compiled.target.dt)
    return ReseedingSimulator(noise_model=timed.to_aer(), target=compiled.target)


def _divided(rows: np.ndarray, bytes_per_row: int) -> list[np.ndarray]:
    """Rows in parts whose outcomes take no more than `_BYTES_PER_JOB`."""
    if not len(rows):
        return []
    size = max(1, _BYTES_PER_JOB // bytes_per_row)
    return [rows[start : start + size] for start in range(0, len(rows), size)]
