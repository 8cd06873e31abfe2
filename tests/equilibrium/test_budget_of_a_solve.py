"""A budget that all samples of a solve share: it is kept, what it allows is done, and whom it stops is told so."""

from __future__ import annotations

import math

import pytest
import torch
from sampled_maps import noisy, root_of

from qdeq_qiskit.equilibrium import Equilibrium, KrasnoselskiiMann, Newton, Reason, Root, SampledSolver, solve
from qdeq_qiskit.equilibrium._prices import Prices

SAMPLES = 40
# One look and the least estimate: two evaluations and a Jacobian, on three and five circuits of 100 shots.
LEAST = SAMPLES * 100 * (3 + 3 + 5)
SOLVERS = {
    "measured": SampledSolver(),
    "to a precision": SampledSolver(precision=0.01, max_shots=10**7),
    "noiseless": SampledSolver(jacobian="noiseless"),
    "noiseless to a precision": SampledSolver(jacobian="noiseless", precision=0.01, max_shots=10**7),
}


def solved(solver: SampledSolver, budget: float, *, shots_per_call: int = 0) -> tuple[Root, int]:
    """The answers, and what was spent of the budget."""
    fixed_point_map, start = noisy("tanh", samples=SAMPLES, shots=100)
    fixed_point_map.budget, fixed_point_map.shots_per_call = budget, shots_per_call
    return solve(fixed_point_map, start, solver), fixed_point_map.spent()


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
@pytest.mark.parametrize("factor", [0.01, 0.3, 1.0, 1.5, 3.0, 10.0, 100.0])
def test_a_budget_is_kept_and_samples_that_it_stops_are_told(solver: SampledSolver, factor: float) -> None:
    root, spent = solved(solver, factor * LEAST)
    assert spent <= factor * LEAST
    assert root.w.isfinite().all()
    known = root.covariance.isfinite().flatten(1).all(1)
    assert (root.reason[~known] == Reason.BUDGET).all()
    assert torch.isin(root.reason, torch.tensor([int(Reason.BUDGET), int(Reason.WITHIN_NOISE)])).all()
    if factor >= 1:  # the search never takes what the least estimate of all samples needs
        assert known.all()
        half = 1.959964 * root.covariance.diagonal(dim1=1, dim2=2).sqrt()
        assert ((root.w - root_of("tanh")).abs() <= half).double().mean() > 0.88
    else:
        assert known.sum() == pytest.approx(factor * SAMPLES, rel=0.5, abs=1) or solver.jacobian == "noiseless"


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_a_budget_that_suffices_changes_nothing(solver: SampledSolver) -> None:
    free, spent = solved(solver, math.inf)
    ample, again = solved(solver, 2 * spent)
    assert spent == again
    for name in ("w", "covariance", "reason", "shots"):
        assert torch.equal(getattr(free, name), getattr(ample, name)), name


@pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS)
def test_nothing_is_evaluated_where_not_even_one_sample_can_be_paid(solver: SampledSolver) -> None:
    root, spent = solved(solver, 500)
    assert spent == 0
    assert (root.reason == Reason.BUDGET).all()
    assert not root.converged.any()
    assert not root.evaluations.any()
    assert torch.equal(root.w, torch.zeros_like(root.w))


def test_an_estimate_with_fewer_shots_than_asked_for_is_marked() -> None:
    whole, spent = solved(SampledSolver(), math.inf)
    assert (whole.reason == Reason.WITHIN_NOISE).all()
    part, _ = solved(SampledSolver(), 0.6 * spent)
    assert (part.reason == Reason.BUDGET).all()
    assert (part.covariance.diagonal(dim1=1, dim2=2) > whole.covariance.diagonal(dim1=1, dim2=2)).all()


def test_what_calls_take_beside_their_shots_is_in_the_budget() -> None:
    _, spent = solved(SampledSolver(), math.inf, shots_per_call=5_000)
    budget = 0.5 * spent
    root, spent = solved(SampledSolver(), budget, shots_per_call=5_000)
    assert spent <= budget
    assert root.covariance.isfinite().all()


def test_where_calls_are_dear_samples_share_them() -> None:
    shots, calls = [], []
    for shots_per_call in (0, 200_000):
        fixed_point_map, start = noisy("tanh", samples=SAMPLES, shots=100)
        start = start + torch.linspace(0, 2, SAMPLES, dtype=torch.double).unsqueeze(1)
        fixed_point_map.shots_per_call = shots_per_call
        root = solve(fixed_point_map, start, SampledSolver(precision=0.02, max_shots=10**7))
        assert root.converged.all()
        calls.append(len(fixed_point_map.calls))
        shots.append(int(root.shots.sum()))
    assert calls[1] < calls[0]
    assert shots[1] <= shots[0] + 200_000 * (calls[0] - calls[1])


@pytest.mark.parametrize("solver", [KrasnoselskiiMann(tolerance=0), Newton(tolerance=0)], ids=["damped", "newton"])
@pytest.mark.parametrize("evaluations", [0, 1, 3])
def test_the_other_solvers_stop_with_the_best_iterate_when_the_budget_ends(solver, evaluations: int) -> None:
    fixed_point_map, start = noisy("contraction", samples=5, shots=100)
    price = 5 * 100 * (3 + 5 * solver.uses_jacobian)
    fixed_point_map.budget = evaluations * price + 5 * 100 * 2
    root = solve(fixed_point_map, start, solver)
    assert fixed_point_map.spent() <= fixed_point_map.budget
    assert (root.reason == Reason.BUDGET).all()
    assert (root.evaluations >= evaluations).all()
    assert (root.iterations >= 0).all()
    assert bool(root.residual.isfinite().all()) == (evaluations > 0)
    if not evaluations:
        assert torch.equal(root.w, start)


def test_counts_of_shots_are_raised_only_where_that_saves_more_than_it_takes() -> None:
    prices = Prices(100, 100, 2, 0, 10**9, shots_per_call=1_000)
    most = torch.full((5,), 10_000)
    # Two samples from 100 to 300 take 800 shots more; from there three to 900 would take 3,600.
    found = prices.in_fewer_calls(torch.tensor([100, 300, 900, 100, 5_000]), most)
    assert found.tolist() == [300, 300, 900, 300, 5_000]
    poor = torch.tensor([10_000, 10_000, 10_000, 200, 10_000])
    assert prices.in_fewer_calls(torch.tensor([100, 300, 900, 100, 5_000]), poor).tolist() == [
        100,
        300,
        900,
        100,
        5_000,
    ]


def test_a_solution_says_what_would_help_those_whom_the_budget_stopped() -> None:
    fixed_point_map, _ = noisy("tanh", samples=4, shots=100)
    fixed_point_map.budget = 0

    class Layer(torch.nn.Module):
        def forward(self, w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
            return w

    equilibrium = Equilibrium(Layer(), state_size=3, solver=SampledSolver(), on_failure="record").double()
    equilibrium.map = lambda x: fixed_point_map  # type: ignore[method-assign]
    with torch.no_grad():
        solution = equilibrium(fixed_point_map.inputs[0])
    assert solution.reason_counts() == {Reason.BUDGET: 4}
    assert "max_qpu_seconds" in str(Reason.BUDGET)
    assert solution.circuits == 0
    assert solution.interval()[0].isnan().all()
