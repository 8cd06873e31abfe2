"""A solve on a copy of a processor with a budget of seconds: it is kept, and it stops with what it has."""

from __future__ import annotations

import pytest
import torch

from qdeq_qiskit.backends.kinds.ibm import IBMBackend
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, Reason, SampledSolver, Solution, nearest_lift

SAMPLES = 8
SOLVERS = {
    "noiseless": SampledSolver(jacobian="noiseless", precision=0.1, max_shots=50_000),
    "measured": SampledSolver(),
}


def solved(max_qpu_seconds: float | None, solver: SampledSolver) -> tuple[Solution, float, int]:
    """The solution, the seconds charged, and how many jobs ran."""
    qnn = QNNCircuit.compose(amplitude_encoder(4, 16), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)
    weight = torch.nn.Parameter(torch.rand(qnn.num_weights, generator=torch.Generator().manual_seed(4)) * 6.28)
    backend = IBMBackend(name="fake_manila", shots=128, optimization_level=1, max_qpu_seconds=max_qpu_seconds)
    backend = backend.on(backend.open(4))
    layer = backend.layer(qnn, weight)
    equilibrium = Equilibrium(layer, lift=nearest_lift(16, 4), solver=solver, on_failure="record")
    with torch.no_grad():
        solution = equilibrium(torch.rand(SAMPLES, 16, generator=torch.Generator().manual_seed(5)))
    assert backend.connection is not None
    budget = backend.connection.dispatcher.budget
    return solution, 0.0 if budget is None else budget.spent, layer.machine.jobs_run


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("seconds", [1.0, 6.0, 9.0])
def test_no_more_than_the_budget_is_spent_and_whoever_it_stops_is_told(solver: SampledSolver, seconds: float) -> None:
    solution, spent, jobs = solved(seconds, solver)
    assert spent <= seconds
    assert (jobs > 0) == (spent > 0) == bool(solution.evaluations.any())
    known = solution.covariance.isfinite().flatten(1).all(1)
    assert (solution.reason[~known] == Reason.BUDGET).all()
    assert solution.value.isfinite().all()
    if seconds == 1.0:  # less than one job
        assert jobs == 0
        assert solution.reason_counts() == {Reason.BUDGET: SAMPLES}


def test_with_a_look_and_the_least_estimate_every_sample_has_an_interval() -> None:
    free, _, jobs = solved(None, SOLVERS["noiseless"])
    assert free.converged.all()
    assert jobs >= 2
    # Two jobs of eight samples at 128 shots, of less than 0.3 ms each.
    short, spent, _ = solved(2 * (2 + 8 * 128 * 0.3e-3), SOLVERS["noiseless"])
    assert spent <= 2 * (2 + 8 * 128 * 0.3e-3)
    assert short.covariance.isfinite().all()
    assert (short.covariance.diagonal(dim1=1, dim2=2).amax(1) > free.covariance.diagonal(dim1=1, dim2=2).amax(1)).all()
    assert Reason.BUDGET in short.reason_counts()


def test_an_ample_budget_changes_nothing() -> None:
    free, _, _ = solved(None, SOLVERS["noiseless"])
    ample, _, _ = solved(1000, SOLVERS["noiseless"])
    assert torch.equal(free.value, ample.value)
    assert torch.equal(free.covariance, ample.covariance)
