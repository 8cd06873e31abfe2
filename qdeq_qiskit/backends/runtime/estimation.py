"""IBM Runtime's client-side estimator: what it is asked for, how, and what it answers, in plain arrays.

The same few functions serve a simulator in this process and a processor over the network.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from qdeq_qiskit.backends.runtime.errors import JobError
from qdeq_qiskit.backends.runtime.job import JobRequest
from qdeq_qiskit.noise.mitigation import MitigationCost, MitigationRecipe

if TYPE_CHECKING:
    from qiskit.primitives import PubResult
    from qiskit.providers import BackendV2
    from qiskit_ibm_runtime import Batch, RuntimeJobV2, Session

# IBM's limits for one job (https://quantum.cloud.ibm.com/docs/guides/job-limits): executions, and instructions of the
# control system for a qubit, over all circuits.
MAX_EXECUTIONS = 5_000_000
MAX_INSTRUCTIONS = 26_800_000
# What is sent and what comes back stays below 300 MB, with hundreds of angles a circuit.
MAX_CIRCUITS = 10_000
# Outcomes of one job, one byte a bit, in this process' memory.
_MAX_BYTES = 2**28

_ARRAYS = ("evs", "stds", "ensemble_standard_error")
_ARRAYS_OF_ZNE = ("evs_noise_factors", "stds_noise_factors", "ensemble_stds_noise_factors")
_SHARED = ParameterVector("c", 0)


def estimator_options(
    recipe: MitigationRecipe,
    cost: MitigationCost,
    *,
    init_qubits: bool = True,
    rep_delay: float | None = None,
    max_execution_time: int | None = None,
) -> dict[str, Any]:
    """The estimator's options, plain values as in JSON; tags and seeds are not among them.

    Args:
        recipe: what is done against noise; `readout: matrix` is no option but one of the observables.
        cost: of one row at the shots that are wanted, as the recipe's `overhead` gives it.
        init_qubits: whether qubits are reset before each shot.
        rep_delay: seconds between shots; None for the processor's own.
        max_execution_time: seconds after which a job is cancelled; None for the service's own.
    """
    options: dict[str, Any] = {
        "resilience_level": 0,
        "default_shots": cost.shots,
        # By default a simulator rounds angles to 1e-5 of a quarter turn.
        "simulator": {"angle_decimals": 15},
        "resilience": {"measure_mitigation": recipe.readout == "trex", "zne_mitigation": recipe.zne is not None},
        "twirling": {
            "enable_gates": recipe.twirling is not None,
            "enable_measure": recipe.readout == "trex",
            "num_randomizations": cost.randomizations,
            "shots_per_randomization": cost.shots_per_circuit,
        },
        "execution": {"init_qubits": init_qubits, "rep_delay": rep_delay},
        "max_execution_time": max_execution_time,
    }
    if recipe.zne is not None:
        exponential = recipe.zne.extrapolator == "exponential"
        options["resilience"]["zne"] = {
            **recipe.zne.model_dump(mode="json"),
            "extrapolator": ["exponential", "linear"] if exponential else recipe.zne.extrapolator,
        }
    if recipe.twirling is not None:
        options["twirling"]["strategy"] = recipe.twirling.strategy
    if recipe.dynamical_decoupling is not None:
        options["dynamical_decoupling"] = {"enable": True, "sequence_type": recipe.dynamical_decoupling}
    return options


def run_estimator(
    mode: BackendV2 | Session | Batch | Any, request: JobRequest, *, tags: Sequence[str] = (), seed: int | None = None
) -> RuntimeJobV2 | Any:
    """Hands a request in as one PUB: every observable at every row.

    Args:
        mode: a backend, or a session or batch on one. The request's circuit and observables must be on its qubits.
        request: the job.
        tags: for the job, by which the service finds it again.
        seed: of a simulator.

    Returns:
        Runtime's job; the first item of its `result()` is for `outcome_of`.
    """
    from qiskit_ibm_runtime.executor_estimator import Estimator

    options = dict(request.options)
    if tags:
        options["environment"] = {**options.get("environment", {}), "job_tags": [*tags]}
    if seed is not None:
        options["simulator"] = {**options.get("simulator", {}), "seed_simulator": seed}
    pub = (request.circuit, [[observable] for observable in request.observables], request.rows)
    return Estimator(mode=mode, options=options).run([pub])


def outcome_of(result: PubResult[Any], request: JobRequest) -> dict[str, np.ndarray]:
    """What the estimator found, as arrays of numbers.

    Args:
        result: the first item of the job's result.
        request: what was asked for.

    Returns:
        `evs`, `stds` (the spread of random circuits) and `ensemble_standard_error` (that of shots), each (K, N); with
        zero-noise extrapolation `evs` and, at the F noise factors, `evs_noise_factors`, `stds_noise_factors` and
        `ensemble_stds_noise_factors`, each (K, N, F), and `curved`, (K, N): whether the fit is none by a line.

    Raises:
        JobError: the result is not what was asked for.
    """
    shape = (len(request.observables), len(request.rows))
    zne = request.options["resilience"].get("zne") if request.options["resilience"]["zne_mitigation"] else None
    expected: dict[str, tuple[int, ...]] = dict.fromkeys(("evs",) if zne else _ARRAYS, shape)
    if zne:
        expected |= dict.fromkeys(_ARRAYS_OF_ZNE, (*shape, len(zne["noise_factors"])))
    arrays = {name: _array(result, name, wanted) for name, wanted in expected.items()}
    if zne:
        try:
            curves = np.asarray(result.metadata["resilience"]["zne"]["extrapolators"])
            arrays["curved"] = np.broadcast_to(curves != "linear", shape).copy()
        except (KeyError, TypeError, ValueError) as error:
            raise JobError("the job's result does not say which curves were fitted to the noise factors") from error
    return arrays


def result_of(job: Any) -> PubResult[Any]:
    """The one item of a job's result, awaited; without warnings about values that have no spread."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No positive, finite standard errors")
        return job.result()[0]


def jobs_of(rows: int, cost: MitigationCost, *, measured_qubits: int, instructions: int = 0) -> list[int]:
    """How many rows each job of one call gets, within the limits of executions, circuits, instructions and bytes.

    A row is never divided, though it alone may exceed them.

    Args:
        rows: of angles.
        cost: of one row.
        measured_qubits: read out at each shot: on a processor all that it has, whatever the circuit uses.
        instructions: of one circuit for a qubit, as `isa.control_instructions` counts them; 0 if they do not matter.
    """
    circuits = min(MAX_CIRCUITS, MAX_INSTRUCTIONS // max(instructions, 1))
    size = min(
        (MAX_EXECUTIONS - cost.calibration_shots) // cost.shots_per_row,
        (circuits - cost.calibration_circuits) // cost.circuits_per_row,
        _MAX_BYTES // (cost.shots_per_row * measured_qubits),
    )
    size = max(1, size)
    return [min(size, rows - start) for start in range(0, rows, size)]


def with_shared_parameters(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit with parameters, in the same order, that all such circuits in this process have in common.

    Samplomatic keeps a table of what it has tagged, which fails at the 14th circuit that looks like an earlier one but
    has parameters of its own.
    """
    if len(_SHARED) < circuit.num_parameters:
        _SHARED.resize(circuit.num_parameters)
    return circuit.assign_parameters(dict(zip(circuit.parameters, _SHARED, strict=False)))


def _array(result: PubResult[Any], name: str, shape: tuple[int, ...]) -> np.ndarray:
    found = getattr(result.data, name, None)
    if found is None:
        raise JobError(f"the job's result has no {name}")
    try:
        array = np.asarray(found, dtype=float)
    except (TypeError, ValueError) as error:
        raise JobError(f"the job's result has {name} that are no numbers") from error
    if array.shape != shape:
        raise JobError(f"the job's result has {name} of shape {array.shape} where {shape} was asked for")
    if not np.isfinite(array).all():
        raise JobError(f"the job's result has {name} that are not finite")
    return array
