"""Mitigation by IBM Runtime's client-side estimator, on Aer with the noise of the wires in use.

The estimator twirls, folds, decouples, calibrates the readout and extrapolates on the client, so what it does to a
processor's circuits it does to simulated ones too. What would be without effect locally is refused, with the reason.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import final

import numpy as np
from qiskit.providers import BackendV2
from qiskit.transpiler import Target

from qdeq_qiskit.backends.aer import require_aer
from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.runtime.estimation import outcome_of, result_of, run_estimator
from qdeq_qiskit.backends.runtime.job import JobRequest
from qdeq_qiskit.backends.runtime.machine import Execution, JobMachine
from qdeq_qiskit.noise.assignment_inversion import check_readout, inverted_assignment
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.mitigation import MitigationRecipe

# What qiskit_mitigation folds, and what samplomatic twirls.
_FOLDED = frozenset({"ecr", "cx", "cy", "cz", "swap"})
_TWIRLED = frozenset({"ecr", "cx", "cz"})


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
        check_readout(compiled.observables, noise)


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
class MitigatedMachine(JobMachine):
    """Runtime's estimator in local mode; made by `mitigated_machine`."""

    def __init__(
        self, compiled: CompiledCircuit, noise: CircuitNoise, recipe: MitigationRecipe, shots: int, seed: int | None
    ) -> None:
        super().__init__(compiled, noise, recipe, shots=shots, seed=seed, execution=Execution())
        self._simulator = noisy_simulator(noise, compiled.target if recipe.dynamical_decoupling is not None else None)

    def outcomes(self, requests: Sequence[JobRequest]) -> list[dict[str, np.ndarray]]:
        return [
            outcome_of(result_of(run_estimator(self._simulator, request, seed=request.seed)), request)
            for request in requests
        ]


def noisy_simulator(noise: CircuitNoise, target: Target | None) -> BackendV2:
    """Aer with the noise of some wires, for Runtime's local mode.

    Args:
        noise: on the wires.
        target: the processor, restricted to these wires, if pulses are to be placed by its durations; else None.
    """
    require_aer()
    from qdeq_qiskit.backends.reseeding import ReseedingSimulator

    if target is None:
        return ReseedingSimulator(noise_model=noise.to_aer())
    # The estimator schedules in units of dt, which noise that no recipe built need not know.
    return ReseedingSimulator(noise_model=dataclasses.replace(noise, dt=target.dt).to_aer(), target=target)
