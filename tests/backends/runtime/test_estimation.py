"""What the estimator is asked for and what its answers must look like."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime.options_models.estimator import EstimatorOptions

from qdeq_qiskit.backends.runtime import estimation
from qdeq_qiskit.backends.runtime.errors import JobError
from qdeq_qiskit.backends.runtime.estimation import estimator_options, jobs_of, outcome_of
from qdeq_qiskit.backends.runtime.job import JobRequest
from qdeq_qiskit.noise import MitigationRecipe


def request(names="none", rows=3):
    recipe = MitigationRecipe.parse(names)
    cost = recipe.overhead(64)
    return JobRequest(
        circuit=QuantumCircuit(2),
        observables=(SparsePauliOp("ZI"), SparsePauliOp("IZ")),
        rows=np.zeros((rows, 0)),
        physical=(0, 1),
        cost=cost,
        options=estimator_options(recipe, cost),
        seed=0,
    )


def answer(shape=(2, 3), metadata=None, **changed):
    names = ("evs", "stds", "ensemble_standard_error")
    arrays = {name: np.full(shape, 0.25) for name in names} | changed
    return SimpleNamespace(data=SimpleNamespace(**arrays), metadata=metadata or {})


@pytest.mark.parametrize("names", ["none", "trex", "trex+zne+twirling", "dd"])
def test_options_are_plain_and_runtime_takes_them(names):
    recipe = MitigationRecipe.parse(names)
    options = estimator_options(recipe, recipe.overhead(100), rep_delay=1e-4, init_qubits=False, max_execution_time=60)
    assert json.loads(json.dumps(options)) == options
    read = EstimatorOptions(**options)
    assert (read.resilience_level, read.default_shots, read.max_execution_time) == (0, 100, 60)
    assert (read.execution.rep_delay, read.execution.init_qubits) == (1e-4, False)
    assert read.resilience.measure_mitigation == ("trex" in names)
    assert read.resilience.zne_mitigation == ("zne" in names)
    assert read.twirling.enable_gates == ("twirling" in names)
    assert read.dynamical_decoupling.enable == ("dd" in names)


def test_an_answer_becomes_arrays_of_numbers():
    arrays = outcome_of(answer(), request())
    assert {name: array.shape for name, array in arrays.items()} == {
        "evs": (2, 3),
        "stds": (2, 3),
        "ensemble_standard_error": (2, 3),
    }
    factors = {
        name: np.zeros((2, 3, 3)) for name in ("evs_noise_factors", "stds_noise_factors", "ensemble_stds_noise_factors")
    }
    fitted = {"resilience": {"zne": {"extrapolators": np.array([["linear"] * 3, ["exponential"] * 3])}}}
    arrays = outcome_of(answer(metadata=fitted, **factors), request("zne"))
    assert arrays["curved"].tolist() == [[False] * 3, [True] * 3]
    assert arrays["evs_noise_factors"].shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (answer(evs=None), "has no evs"),
        (answer(shape=(2, 4)), r"evs of shape \(2, 4\) where \(2, 3\) was asked for"),
        (answer(stds=np.full((2, 3), np.nan)), "stds that are not finite"),
        (answer(evs=[["a", "b", "c"]] * 2), "evs that are no numbers"),
    ],
)
def test_an_answer_that_was_not_asked_for_is_an_error(result, message):
    with pytest.raises(JobError, match=message):
        outcome_of(result, request())


def test_an_extrapolation_that_does_not_name_its_curves_is_an_error():
    factors = {
        name: np.zeros((2, 3, 3)) for name in ("evs_noise_factors", "stds_noise_factors", "ensemble_stds_noise_factors")
    }
    with pytest.raises(JobError, match="does not say which curves"):
        outcome_of(answer(**factors), request("zne"))


def test_jobs_keep_within_executions_circuits_and_bytes(monkeypatch):
    plain = MitigationRecipe.parse("none").overhead(4096, num_bases=2)
    assert jobs_of(3, plain, measured_qubits=4) == [3]
    # 5,000,000 // 8192 rows, then 10,000 // 2
    assert jobs_of(1500, plain, measured_qubits=4) == [610, 610, 280]
    few = MitigationRecipe.parse("none").overhead(10, num_bases=2)
    assert jobs_of(12_000, few, measured_qubits=4) == [5000, 5000, 2000]
    # 26,800,000 // 20,000 circuits
    assert jobs_of(2000, few, measured_qubits=4, instructions=20_000) == [670, 670, 660]
    # With calibration: 32 circuits of 128 shots, and so many a row.
    trex = MitigationRecipe.parse("trex").overhead(4096)
    assert jobs_of(1000, trex, measured_qubits=4) == [311, 311, 311, 67]
    assert jobs_of(2, MitigationRecipe.parse("none").overhead(5_000_000, num_bases=2), measured_qubits=4) == [1, 1]
    monkeypatch.setattr(estimation, "_MAX_BYTES", 8192 * 4 * 7)
    assert jobs_of(16, plain, measured_qubits=4) == [7, 7, 2]
