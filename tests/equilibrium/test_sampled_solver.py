"""The statistical solver: its intervals cover, its budget holds, its precision is reached, its counts are exact."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from equilibrium_maps import case
from sampled_maps import NoisyMap, noisy, problem, root_of
from torch import Tensor

from qdeq_qiskit.equilibrium import (
    Equilibrium,
    FixedPointMap,
    FunctionMap,
    KrasnoselskiiMann,
    MeasuredJacobian,
    Reason,
    Root,
    SampledSolver,
    Unrolled,
    make_solver,
    solve,
)
from qdeq_qiskit.equilibrium._prices import Prices, on_grid

REPETITIONS = 4000


def covered(root: Root, right: Tensor) -> Tensor:
    """How often the 95% interval of each entry holds the exact fixed point, (n,)."""
    half = 1.959964 * root.covariance.diagonal(dim1=1, dim2=2).sqrt()
    return ((root.w - right).abs() <= half).double().mean(0)


@pytest.mark.parametrize("options", [{}, {"precision": 0.02, "max_shots": 10**7}], ids=["plain", "to a precision"])
@pytest.mark.parametrize("name", ["contraction", "tanh", "quantum", "rotation", "unstable"])
def test_intervals_cover_the_exact_fixed_point_as_often_as_they_say(name: str, options: dict[str, float]) -> None:
    fixed_point_map, start = noisy(name, samples=REPETITIONS, shots=400)
    root = solve(fixed_point_map, start, SampledSolver(**options))
    assert (root.reason == Reason.WITHIN_NOISE).double().mean() > 0.99
    share = covered(root, root_of(name))
    assert share.min() >= 0.93
    assert share.max() <= 0.97
    # Not only the intervals: the whole covariance is that of the errors.
    known = root.converged
    error = (root.w - root_of(name))[known]
    distance = torch.einsum("bi,bij,bj->b", error, torch.linalg.inv(root.covariance[known]), error)
    assert abs(float(distance.mean()) / start.shape[1] - 1) < 0.15


def test_a_precision_is_reached_with_about_the_shots_that_it_takes() -> None:
    fixed_point_map, start = noisy("tanh", samples=200, shots=100)
    root = solve(fixed_point_map, start, SampledSolver(precision=0.01, max_shots=10**8))
    half = 1.959964 * root.covariance.diagonal(dim1=1, dim2=2).sqrt()
    assert root.converged.all()
    assert half.max() <= 0.01
    assert (root.w - root_of("tanh")).abs().mean() < 0.01
    # An oracle that knows J and w* would take Var / (precision / 1.96)² in one go.
    with torch.no_grad():
        jacobian = fixed_point_map.exact.value_and_jacobian(root_of("tanh").expand(200, -1))[1][0]
    inverse = torch.linalg.inv(torch.eye(3, dtype=torch.double) - jacobian)
    least = 3 * float((inverse @ fixed_point_map.unit @ inverse.T).diagonal().max()) * (1.96 / 0.01) ** 2
    assert 1.0 < float(root.shots.double().mean()) / least < 2.5


@pytest.mark.parametrize("max_shots", [2_000, 20_000, 200_000])
def test_no_sample_spends_more_than_its_budget_and_one_that_needs_more_says_so(max_shots: int) -> None:
    fixed_point_map, start = noisy("tanh", samples=100, shots=100)
    root = solve(fixed_point_map, start, SampledSolver(precision=0.001, max_shots=max_shots))
    assert int(root.shots.max()) <= max_shots
    assert (root.reason == Reason.BUDGET).all()
    assert not root.converged.any()
    assert root.w.isfinite().all()
    if max_shots > 2_000:
        # What there is, is used, and it still covers.
        assert float(root.shots.double().min()) > 0.7 * max_shots
        assert covered(root, root_of("tanh")).min() > 0.85


def test_a_large_budget_is_kept_to_the_shot() -> None:
    fixed_point_map, _ = noisy("tanh", samples=1, shots=1)
    spent = torch.tensor([100])
    for budget in (3 * (2**25 - 1) + 100, 3 * (2**40 - 1) + 100, 10**30):
        prices = Prices.of(fixed_point_map, SampledSolver(max_shots=budget))
        shots = int(on_grid(prices.affordable(spent), 1, torch.floor))
        assert 100 + prices.value(shots) <= budget


def test_circuits_and_shots_are_those_that_the_map_was_asked_for() -> None:
    for name, options in (("tanh", {"precision": 0.02, "max_shots": 10**6}), ("unstable", {"jacobian_shots": 70})):
        fixed_point_map, start = noisy(name, samples=50, shots=100)
        root = solve(fixed_point_map, start, SampledSolver(**options))
        assert torch.equal(root.shots, fixed_point_map.ledger)
        assert root.jacobian_evaluations.min() >= 1
    assert root.jacobian_evaluations.max() > 1  # Newton steps were needed


def test_a_sample_alone_is_treated_as_in_a_batch() -> None:
    fixed_point_map, start = noisy("tanh", samples=400, shots=100)
    together = solve(fixed_point_map, start, SampledSolver())
    alone = []
    for seed in range(200):
        fixed_point_map, start = noisy("tanh", samples=1, shots=100, seed=1000 + seed)
        alone.append(solve(fixed_point_map, start, SampledSolver()))
    for name in ("evaluations", "shots", "w"):
        apart = torch.cat([getattr(root, name) for root in alone]).double()
        joint = getattr(together, name).double()
        error = ((apart.var(0) + 1e-9) / 200 + (joint.var(0) + 1e-9) / 400).sqrt()
        assert ((apart.mean(0) - joint.mean(0)).abs() <= 4 * error).all(), name


def test_a_sample_that_is_done_is_not_evaluated_again() -> None:
    fixed_point_map, _ = noisy("contraction", samples=4, shots=100)
    start = root_of("contraction").expand(4, -1).clone()
    start[0] += 5.0
    root = solve(fixed_point_map, start, SampledSolver())
    assert int(root.evaluations[0]) > int(root.evaluations[1:].max())
    assert torch.equal(root.shots, fixed_point_map.ledger)


def test_without_noise_it_is_the_exact_fixed_point() -> None:
    for name in ("contraction", "rotation", "quantum", "unstable"):
        chosen = problem(name)
        exact = FunctionMap(chosen.layer, (chosen.x,), batched=1).frozen()
        start = torch.zeros(1, chosen.state_size, dtype=torch.double)
        root = solve(exact, start, SampledSolver(tolerance=1e-10))
        assert root.reason.tolist() == [Reason.CONVERGED]
        assert torch.equal(root.covariance, torch.zeros_like(root.covariance))
        torch.testing.assert_close(root.w[0], root_of(name), rtol=0, atol=1e-8)


def test_with_little_noise_it_is_nearly_so() -> None:
    fixed_point_map, start = noisy("tanh", samples=20, shots=10**14)
    root = solve(fixed_point_map, start, SampledSolver(max_iterations=200))
    assert (root.w - root_of("tanh")).abs().max() < 1e-6


def test_it_beats_the_average_over_damped_iterates_at_equal_shots() -> None:
    fixed_point_map, start = noisy("tanh", samples=1000, shots=400)
    ours = solve(fixed_point_map, start, SampledSolver())
    # As many evaluations as our shots would pay for.
    steps = round(float(ours.shots.double().mean()) / (3 * 400)) - 2
    theirs = solve(fixed_point_map, start, KrasnoselskiiMann(tolerance=0, max_iterations=steps, average=True, tail=0.5))
    errors = [torch.linalg.vector_norm(root.w - root_of("tanh"), dim=1).median() for root in (ours, theirs)]
    assert errors[0] < errors[1]


def test_the_floor_shortens_wild_steps_and_is_reported() -> None:
    fixed_point_map, start = noisy("contraction", samples=300, shots=2)
    plain, floored = (solve(fixed_point_map, start, SampledSolver(floor=floor)) for floor in (0.0, 0.5))
    assert not plain.floored.any()
    assert floored.floored.any()
    worst = [torch.linalg.vector_norm(root.w - root_of("contraction"), dim=1).amax() for root in (plain, floored)]
    assert worst[1] < worst[0]
    identity = torch.eye(3, dtype=torch.double)
    singular = torch.linalg.svdvals(identity - floored.jacobian[floored.reason == Reason.WITHIN_NOISE])
    assert float(singular.min()) >= 0.5 - 1e-9


class SingularMap(NoisyMap):
    """The noisy map; the first Jacobians that are measured of the first samples are the identity, as by bad luck."""

    samples, unlucky, gap = 2, 1000, 0.0
    dtype = torch.double

    def measure(self, w: Tensor, *, shots: int | None = None) -> tuple[Tensor, Tensor]:
        value, covariance = super().measure(w.double(), shots=shots)
        return value.to(self.dtype), covariance.to(self.dtype)

    def measure_jacobian(self, w: Tensor, value: Tensor, *, shots: int | None = None) -> MeasuredJacobian:
        found = super().measure_jacobian(w.double(), value, shots=shots)
        if self.unlucky:
            found.jacobian[self.numbers < self.samples] = (1 - self.gap) * torch.eye(w.shape[1], dtype=torch.double)
            type(self).unlucky -= 1
        return MeasuredJacobian(*(each.to(self.dtype) for each in (found.jacobian, found.along, found.covariance)))

    def _with(self, exact: FunctionMap, numbers: Tensor) -> NoisyMap:
        return type(self)(
            exact, numbers, shots=self.shots, unit=self.unit, seed=0, ledger=self.ledger, generator=self.generator
        )


def singular(dtype: torch.dtype, unlucky: int, gap: float = 0.0) -> tuple[FixedPointMap, Tensor]:
    plain, start = noisy("tanh", samples=20, shots=100)
    kind = type("Singular", (SingularMap,), {"dtype": dtype, "unlucky": unlucky, "gap": gap})
    chosen = kind(plain.exact, plain.numbers, shots=100, unit=plain.unit, seed=0, ledger=plain.ledger)
    return chosen, start.to(dtype)


@pytest.mark.parametrize("gap", [0.0, 1e-5], ids=["singular", "nearly so"])
@pytest.mark.parametrize("floor", [0.0, 0.2])
@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_an_estimate_that_determines_nothing_says_so_in_either_precision(
    dtype: torch.dtype, floor: float, gap: float
) -> None:
    fixed_point_map, start = singular(dtype, 1000, gap)
    root = solve(fixed_point_map, start, SampledSolver(floor=floor))
    assert root.reason.tolist() == [Reason.UNDETERMINED] * 2 + [Reason.WITHIN_NOISE] * 18
    assert root.converged.tolist() == [False] * 2 + [True] * 18
    assert root.unconverged == 2
    assert root.covariance[:2].isnan().all()
    assert root.covariance[2:].isfinite().all()
    assert (root.w[:2] - root_of("tanh").to(dtype)).abs().max() < 0.5  # the best iterate
    assert "Raise the shots of the Jacobian" in str(Reason.UNDETERMINED)


@pytest.mark.parametrize("dtype", [torch.float, torch.double])
def test_where_a_precision_is_wanted_it_is_estimated_again_from_more_shots(dtype: torch.dtype) -> None:
    fixed_point_map, start = singular(dtype, 1)
    root = solve(fixed_point_map, start, SampledSolver(precision=0.05, max_shots=10**7))
    assert root.converged.all()
    assert (1.96 * root.covariance.diagonal(dim1=1, dim2=2).sqrt() <= 0.0501).all()
    fixed_point_map, start = singular(dtype, 1000)
    root = solve(fixed_point_map, start, SampledSolver(precision=0.05, max_shots=10**6))
    assert root.reason.tolist() == [Reason.UNDETERMINED] * 2 + [Reason.WITHIN_NOISE] * 18
    assert root.shots.max() <= 10**6


def test_a_sample_that_is_not_finite_or_has_no_fixed_point_says_so_and_harms_no_other() -> None:
    def layer(w: Tensor, x: Tensor) -> Tensor:
        return torch.where(x > 1, w.square() + x, 0.5 * w + x)

    x = torch.tensor([[0.1], [torch.nan], [2.0]], dtype=torch.double)
    fixed_point_map, _ = noisy("contraction", samples=3, shots=100)
    fixed_point_map.exact, fixed_point_map.unit = FunctionMap(layer, (x,), batched=1), torch.ones(1, 1).double()
    root = solve(fixed_point_map, torch.zeros(3, 1, dtype=torch.double), SampledSolver())
    assert root.reason.tolist()[:2] == [Reason.WITHIN_NOISE, Reason.NOT_FINITE]
    assert root.reason[2] in (Reason.MAX_ITERATIONS, Reason.DIVERGED)
    assert root.converged.tolist() == [True, False, False]
    assert abs(float(root.w[0]) - 0.2) < 0.2
    assert root.covariance[1:].isnan().all()
    assert root.w.isfinite().all()


def sampled_equilibrium(samples: int, **options: object) -> tuple[Equilibrium, Tensor]:
    """An equilibrium whose map is the noisy tanh, with gradients to x by the exact vjp."""
    fixed_point_map, _ = noisy("tanh", samples=samples, shots=10_000)
    x = problem("tanh").x.expand(samples, -1).clone().requires_grad_()
    equilibrium = Equilibrium(case("tanh").layer, state_size=3, **options)

    def bound(features: Tensor) -> object:
        chosen = fixed_point_map.with_inputs((features,))
        chosen.numbers = torch.arange(len(features))
        return chosen

    equilibrium.map = bound
    return equilibrium, x


def test_a_sampled_equilibrium_has_intervals_and_gradients() -> None:
    equilibrium, x = sampled_equilibrium(50, solver=SampledSolver(), on_failure="raise")
    solution = equilibrium(x)
    right = root_of("tanh")
    low, high = solution.interval(0.999)
    assert ((low < right) & (right < high)).double().mean() > 0.97
    assert ((high - low) > (solution.interval(0.5)[1] - solution.interval(0.5)[0])).all()
    assert torch.equal(solution.state, solution.value)
    (found,) = torch.autograd.grad(solution.value.sum(), x)
    exact = Equilibrium(case("tanh").layer, state_size=3)
    leaf = problem("tanh").x.clone().requires_grad_()
    (expected,) = torch.autograd.grad(exact(leaf).value.sum(), leaf)
    torch.testing.assert_close(found.mean(0), expected[0], rtol=0.05, atol=0.02)
    assert "within_noise" in str(solution)
    assert solution.circuits == 3 * int(solution.evaluations.sum()) + 5 * int(solution.jacobian_evaluations.sum())
    assert solution.shots == int(solution.sample_shots.sum()) > 10_000 * solution.circuits
    with pytest.raises(ValueError, match="level must be a number greater than 0; it is 0"):
        solution.interval(0)


def test_features_that_are_not_finite_leave_a_row_of_nan_in_the_covariance() -> None:
    equilibrium, x = sampled_equilibrium(3, solver=SampledSolver(), on_failure="record")
    x = x.detach()
    x[1, 0] = torch.nan
    solution = equilibrium(x)
    assert solution.converged.tolist() == [True, False, True]
    assert solution.covariance[1].isnan().all()
    assert solution.covariance[[0, 2]].isfinite().all()
    assert solution.sample_shots.tolist()[1] == 0
    assert solution.interval()[0][1].isnan().all()


def test_failures_are_reported_in_words_of_noise_and_precision() -> None:
    solver = SampledSolver(precision=1e-4, max_shots=10**6)
    equilibrium, x = sampled_equilibrium(3, solver=solver, on_failure="raise")
    with pytest.raises(
        Exception, match=r"3 of 3 samples did not converge to a residual within its noise and to ±0\.0001"
    ):
        equilibrium(x)


def test_what_cannot_work_is_refused_before_anything_is_measured() -> None:
    with pytest.raises(ValueError, match=r"precision=0\.01 may take any number of shots: give max_shots"):
        SampledSolver(precision=0.01)
    with pytest.raises(ValueError, match="'unrolled', such as 'implicit'"):
        Equilibrium(case("tanh").layer, state_size=3, solver=SampledSolver(), adjoint=Unrolled())
    fixed_point_map, start = noisy("tanh", samples=3, shots=100)
    with pytest.raises(ValueError, match="max_shots=1000 is less than the 1100 shots that one evaluation"):
        solve(fixed_point_map, start, SampledSolver(max_shots=1000))
    assert int(fixed_point_map.ledger.sum()) == 0
    for option, value in (("c", 0), ("average", -1), ("estimate", 0), ("growth", 1.0), ("floor", 2), ("max_shots", 0)):
        with pytest.raises(ValueError, match=f"{option} must be"):
            make_solver("sampled", **{option: value})
    assert make_solver("sampled", c=3.0) == replace(SampledSolver(), c=3.0)
    assert math.isclose(make_solver("sampled").damping, 0.5)
