"""The driver: per-sample stopping, bookkeeping and isolation, whichever solver runs."""

import math

import pytest
import torch
from equilibrium_maps import case
from torch import Tensor

from qdeq_qiskit.equilibrium import (
    Anderson,
    Broyden,
    ChordNewton,
    FixedPointMap,
    FunctionMap,
    KrasnoselskiiMann,
    MapCost,
    Newton,
    Picard,
    Reason,
    Root,
    Solver,
    _search,
    solve,
)

SOLVERS = [
    Picard(tolerance=1e-10, max_iterations=300),
    KrasnoselskiiMann(tolerance=1e-10, max_iterations=500, damping=0.8),
    Anderson(tolerance=1e-10),
    Broyden(tolerance=1e-10),
    Broyden(tolerance=1e-10, backtracks=3),
    ChordNewton(tolerance=1e-10),
    Newton(tolerance=1e-10),
]
every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.kind)


class Recorded:
    """A layer f(w, x) that notes which samples it was asked for; a sample's name is its last feature."""

    def __init__(self, layer: torch.nn.Module) -> None:
        self.layer = layer
        self.asked: list[list[int]] = []

    def __call__(self, w: Tensor, x: Tensor) -> Tensor:
        self.asked.append(x[:, -1].int().tolist())
        return self.layer(w, x[:, :-1])


def solve_looking_every(interval: int, fixed_point_map: FixedPointMap, start: Tensor, solver: Solver) -> Root:
    """`solve`, looking at what has converged only every so many iterations, as on a GPU."""
    search = _search._Search(fixed_point_map, start, solver, interval=interval, keep_jacobian=True, trace=True)
    return search.answer()


def recorded_map(name: str, samples: int, cost: MapCost | None = None) -> tuple[Recorded, FunctionMap, Tensor]:
    problem = case(name, samples=samples)
    names = torch.arange(samples, dtype=torch.float64).unsqueeze(1)
    layer = Recorded(problem.layer)
    x = torch.cat((problem.x, names), dim=1)
    return layer, FunctionMap(layer, (x,), batched=1, cost=cost), torch.zeros(samples, problem.state_size).double()


@torch.no_grad()
@every_solver
def test_converged_samples_are_not_evaluated_again(solver: Solver) -> None:
    layer, fixed_point_map, start = recorded_map("quantum", 12)
    root = solve(fixed_point_map, start, solver)
    assert int(root.converged.sum()) > 6
    counts = torch.zeros(12, dtype=torch.int64)
    for asked in layer.asked:
        counts[asked] += 1
    # A Jacobian that is asked for now and then evaluates the layer once more, by autograd.
    again = root.jacobian_evaluations if solver.asks_for_jacobian else 0
    assert counts.tolist() == (root.evaluations + again).tolist()
    assert len(set(root.evaluations.tolist())) > 1, "the samples need different numbers of iterations"
    assert (root.iterations == root.evaluations - 1).all()


@torch.no_grad()
@every_solver
def test_one_sample_that_never_converges_does_not_keep_the_others_iterating(solver: Solver) -> None:
    problem = case("tanh", samples=5)

    def with_restless_last(w: Tensor, x: Tensor, restless: Tensor) -> Tensor:
        return torch.where(restless, torch.where(w < 1, 2.0, 0.0) + 0 * w, problem.layer(w, x))

    restless = torch.tensor([[False]] * 4 + [[True]])
    start = torch.zeros(5, 3).double()
    alone = solve(FunctionMap(problem.layer, (problem.x,), batched=1), start, solver)
    beside = solve(FunctionMap(with_restless_last, (problem.x, restless), batched=2), start, solver)
    assert not bool(beside.converged[4])
    assert beside.unconverged == 1
    assert beside.evaluations[:4].tolist() == alone.evaluations[:4].tolist()


@torch.no_grad()
@every_solver
def test_a_sample_that_becomes_nan_leaves_the_others_as_they_are(solver: Solver) -> None:
    problem = case("tanh", samples=6)

    def with_bad_third(w: Tensor, x: Tensor, bad: Tensor) -> Tensor:
        return torch.where(bad & (w.abs().sum(1, keepdim=True) > 0), torch.nan, problem.layer(w, x))

    bad = torch.tensor([[False], [False], [True], [False], [False], [False]])
    good = [0, 1, 3, 4, 5]
    start = torch.zeros(6, 3).double()
    beside = solve(FunctionMap(with_bad_third, (problem.x, bad), batched=2), start, solver)
    alone = solve(FunctionMap(problem.layer, (problem.x[good],), batched=1), start[good], solver)
    torch.testing.assert_close(beside.w[good], alone.w, rtol=0, atol=1e-12)
    assert beside.evaluations[good].tolist() == alone.evaluations.tolist()
    assert beside.reason[2] == Reason.DIVERGED
    # The start was its only finite iterate.
    assert beside.w[2].tolist() == [0, 0, 0]
    assert math.isfinite(beside.residual[2])


@torch.no_grad()
@every_solver
def test_a_sample_without_any_finite_value_keeps_its_start_and_says_so(solver: Solver) -> None:
    problem = case("tanh", samples=3)
    x = problem.x.clone()
    x[1] = torch.nan
    start = torch.full((3, 3), 0.25).double()
    root = solve(FunctionMap(problem.layer, (x,), batched=1), start, solver)
    assert root.reason.tolist() == [Reason.CONVERGED, Reason.NOT_FINITE, Reason.CONVERGED]
    assert root.w[1].tolist() == [0.25] * 3
    assert root.residual[1] == torch.inf
    assert root.evaluations[1] == 1


@torch.no_grad()
def test_the_best_iterate_is_returned_when_iterations_run_out() -> None:
    # From 1 the map doubles w − 0.9: each step of plain iteration is farther from the fixed point 0.9.
    root = solve(
        FunctionMap(lambda w: 0.9 + 2 * (w - 0.9), (), batched=0), torch.ones(1, 1).double(), Picard(max_iterations=7)
    )
    assert root.w.item() == 1
    assert root.residual.item() == pytest.approx(0.1)
    assert root.reason.item() == Reason.MAX_ITERATIONS
    assert root.iterations.item() == 7


@torch.no_grad()
@every_solver
def test_the_reported_residual_is_that_of_the_answer(solver: Solver) -> None:
    problem = case("quantum", samples=8)
    root = solve(FunctionMap(problem.layer, (problem.x,), batched=1), torch.zeros(8, 3).double(), solver)
    value = problem.layer(root.w, problem.x)
    torch.testing.assert_close(root.residual, (value - root.w).norm(dim=1), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(root.relative_residual, root.residual / value.norm(dim=1), rtol=1e-12, atol=1e-14)
    assert bool((root.relative_residual <= 1e-10).all()) == bool(root.converged.all())


@torch.no_grad()
def test_a_small_damped_step_is_not_taken_for_a_small_residual() -> None:
    # With τ = 0.001 every step is short from the beginning, while f(w) − w is not.
    problem = case("contraction")
    solver = KrasnoselskiiMann(damping=0.001, tolerance=1e-2, max_iterations=5)
    root = solve(FunctionMap(problem.layer, (problem.x,), batched=1), torch.ones(3, 3).double(), solver)
    assert not bool(root.converged.any())


@torch.no_grad()
def test_the_trace_holds_every_samples_residual_at_each_evaluation() -> None:
    problem = case("tanh", samples=6)
    root = solve(FunctionMap(problem.layer, (problem.x,), batched=1), torch.zeros(6, 3).double(), Newton(), trace=True)
    assert root.trace is not None
    assert len(root.trace) == int(root.evaluations.max())
    w0 = torch.zeros(6, 3).double()
    first = problem.layer(w0, problem.x)
    torch.testing.assert_close(root.trace[0], (first - w0).norm(dim=1) / first.norm(dim=1))
    for b in range(6):
        last = int(root.evaluations[b]) - 1
        assert all(values[b] == root.relative_residual[b] for values in root.trace[last:])


@torch.no_grad()
def test_stragglers_are_restarted_and_their_evaluations_added_up() -> None:
    # Newton's classical cycle: on w³ − 2w + 2 it goes from 0 to 1 and back for ever. The damped restart settles.
    layer = Recorded(torch.nn.Identity())
    layer.layer = lambda w, x: w - (w**3 - 2 * w + x)  # type: ignore[assignment]
    x = torch.tensor([[0.1, 0.0], [2.0, 1.0]]).double()
    start = torch.zeros(2, 1).double()
    plain = solve(
        FunctionMap(layer, (x,), batched=1), start, Newton(picard_steps=0, pseudo_steps=(math.inf,), max_iterations=8)
    )
    assert plain.converged.tolist() == [True, False]
    layer.asked.clear()
    root = solve(
        FunctionMap(layer, (x,), batched=1),
        start,
        Newton(picard_steps=0, pseudo_steps=(math.inf, 0.2), max_iterations=8),
    )
    assert root.converged.tolist() == [True, True]
    torch.testing.assert_close(root.w, torch.tensor([[0.0500626], [-1.7692924]]).double(), rtol=1e-3, atol=0)
    counts = [sum(asked.count(b) for asked in layer.asked) for b in range(2)]
    assert counts == root.evaluations.tolist()
    assert root.iterations.tolist() == [counts[0] - 1, counts[1] - 2]


@torch.no_grad()
def test_the_jacobian_that_newton_had_is_the_one_at_the_answer_and_counted() -> None:
    problem = case("quantum", samples=8)
    layer, calls = problem.layer, []

    class Counted(FunctionMap):
        def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
            calls.append(len(w))
            return super().value_and_jacobian(w)

        def with_inputs(self, inputs: tuple[Tensor, ...]) -> FunctionMap:
            return Counted(layer, inputs, batched=1)

    # One sample is left over after two steps, so that its best iterate's Jacobian must be computed again.
    for solver in (Newton(tolerance=1e-12), Newton(tolerance=1e-3, max_iterations=2, pseudo_steps=(3.0,))):
        calls.clear()
        root = solve(Counted(layer, (problem.x,), batched=1), torch.zeros(8, 3).double(), solver, keep_jacobian=True)
        assert root.jacobian is not None
        for b in range(8):
            expected = torch.autograd.functional.jacobian(
                lambda w, b=b: layer(w.unsqueeze(0), problem.x[b : b + 1])[0], root.w[b]
            )
            torch.testing.assert_close(root.jacobian[b], expected)
        assert sum(calls) == int(root.jacobian_evaluations.sum())


@torch.no_grad()
def test_the_jacobian_of_a_straggler_is_the_one_at_its_best_iterate_not_its_last() -> None:
    # Newton's cycle on w³ − 2w + 2 again: after three steps it is at 1, the better iterate was 0.
    fixed_point_map = FunctionMap(lambda w: w - (w**3 - 2 * w + 2), (), batched=0)
    solver = Newton(picard_steps=0, pseudo_steps=(math.inf,), max_iterations=3)
    root = solve(fixed_point_map, torch.zeros(1, 1).double(), solver, keep_jacobian=True)
    assert root.w.item() == 0
    assert root.jacobian is not None
    assert root.jacobian.item() == 3
    assert root.jacobian_evaluations.item() == root.evaluations.item() + 1 == 5


@torch.no_grad()
@pytest.mark.parametrize("interval", [1, 4])
def test_an_iterate_that_becomes_nan_does_not_spoil_the_best_one(interval: int) -> None:
    # f = w + x has no fixed point and ∂f/∂w = 1: Newton's first step from it is infinite. The other sample is benign.
    def layer(w: Tensor, x: Tensor) -> Tensor:
        return torch.where(x > 0, w + x, 0.5 * torch.cos(w))

    fixed_point_map = FunctionMap(layer, (torch.tensor([[2.0], [0.0]]).double(),), batched=1)
    solver = Newton(picard_steps=0, pseudo_steps=(math.inf,), tolerance=1e-12)
    root = solve_looking_every(interval, fixed_point_map, torch.ones(2, 1).double(), solver)
    assert root.reason.tolist() == [Reason.DIVERGED, Reason.CONVERGED]
    assert root.w[0].item() == 1
    assert root.residual[0].item() == 2
    assert root.w[1].item() == pytest.approx(0.45018361129487355, abs=1e-12)


@torch.no_grad()
def test_a_batch_of_one_and_a_state_of_one_are_solved() -> None:
    for solver in SOLVERS:
        root = solve(
            FunctionMap(lambda w, x: torch.cos(w + x), (torch.zeros(1, 1).double(),), batched=1),
            torch.zeros(1, 1).double(),
            solver,
        )
        assert root.w.item() == pytest.approx(0.7390851332151607, abs=1e-9)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@torch.no_grad()
@every_solver
def test_on_a_gpu_the_answers_are_those_of_the_cpu(solver: Solver) -> None:
    problem = case("quantum", samples=32)
    start = torch.zeros(32, 3).double()
    here = solve(FunctionMap(problem.layer, (problem.x,), batched=1), start, solver)
    layer = problem.layer.cuda()
    there = solve(FunctionMap(layer, (problem.x.cuda(),), batched=1), start.cuda(), solver)
    assert there.w.device.type == "cuda"
    assert here.converged.tolist() == there.converged.tolist()
    both = here.converged
    torch.testing.assert_close(there.w.cpu()[both], here.w[both], rtol=1e-7, atol=1e-8)
    assert (there.evaluations.cpu() >= here.evaluations).all()


@torch.no_grad()
@every_solver
def test_looking_only_now_and_then_as_on_a_gpu_changes_no_answer_and_no_count(solver: Solver) -> None:
    problem = case("quantum", samples=32)
    start = torch.zeros(32, 3).double()
    start[5] = torch.nan
    fixed_point_map = FunctionMap(problem.layer, (problem.x,), batched=1)
    start[:3] = solve(fixed_point_map, torch.zeros(32, 3).double(), Newton(tolerance=1e-13)).w[:3]
    often, rarely = (solve_looking_every(interval, fixed_point_map, start, solver) for interval in (1, 4))
    assert 16 < int(often.converged.sum()) < 32
    assert len(set(often.evaluations.tolist())) > 2
    for name in ("converged", "reason", "iterations", "evaluations", "jacobian_evaluations", "unconverged"):
        assert torch.equal(torch.as_tensor(getattr(rarely, name)), torch.as_tensor(getattr(often, name))), name
    for name in ("w", "residual", "relative_residual", "jacobian"):
        one, other = (getattr(root, name) for root in (often, rarely))
        if one is not None:
            torch.testing.assert_close(other, one, rtol=1e-7, atol=1e-9, equal_nan=True, msg=name)
    assert len(rarely.trace) == len(often.trace)
    for now, then in zip(rarely.trace[:4], often.trace[:4], strict=True):  # later, rounding tells in some solvers
        torch.testing.assert_close(now, then, rtol=1e-7, atol=1e-10, equal_nan=True)


@torch.no_grad()
@pytest.mark.parametrize("average", [False, True])
def test_samples_that_run_out_of_iterations_are_told_alike_however_rarely_one_looks(average: bool) -> None:
    problem = case("quantum", samples=32)
    solver = KrasnoselskiiMann(tolerance=1e-6, max_iterations=13, damping=0.8, average=average)
    fixed_point_map = FunctionMap(problem.layer, (problem.x,), batched=1)
    start = torch.zeros(32, 3).double()
    often, rarely = (solve_looking_every(interval, fixed_point_map, start, solver) for interval in (1, 4))
    assert 3 < often.unconverged < 29
    for name in ("w", "relative_residual"):
        assert (getattr(rarely, name) - getattr(often, name)).abs().max() < 1e-10, name
    for name in ("converged", "reason", "iterations", "evaluations"):
        assert torch.equal(getattr(rarely, name), getattr(often, name)), name


class Steered(FunctionMap):
    """A map whose steering matrix is a tenth off its Jacobian."""

    steers_exactly = False

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> "Steered":
        return Steered(self._function, inputs, batched=self._batched)

    def value_and_steering(self, w: Tensor) -> tuple[Tensor, Tensor]:
        value, jacobian = self.value_and_jacobian(w)
        return value, 0.9 * jacobian


@pytest.mark.parametrize("name", ["contraction", "rotation", "quantum"])
def test_an_inexact_steering_matrix_changes_neither_the_answer_nor_its_jacobian(name: str) -> None:
    problem = case(name)
    x, start = problem.x, torch.zeros(3, problem.state_size).double()
    exact = FunctionMap(problem.layer, (x,), batched=1).frozen()
    steered = Steered(problem.layer, (x,), batched=1).frozen()
    right = solve(exact, start, Newton(tolerance=1e-12), keep_jacobian=True)
    found = solve(steered, start, Newton(tolerance=1e-12, max_iterations=60), keep_jacobian=True)
    assert found.converged.all()
    assert int(found.iterations.sum()) > int(right.iterations.sum())
    torch.testing.assert_close(found.w, right.w, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.jacobian, exact.value_and_jacobian(found.w)[1], rtol=0, atol=1e-12)
    # One matrix for each step after the first, which is w ← f(w), and one Jacobian for the answer.
    assert torch.equal(found.jacobian_evaluations, found.evaluations - 1 + 1)


class Misled(Steered):
    """A map whose steering matrix leads away from its fixed point."""

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> "Misled":
        return Misled(self._function, inputs, batched=self._batched)

    def select(self, rows: Tensor) -> "Misled":
        return self.with_inputs(tuple(tensor.index_select(0, rows) for tensor in self._inputs))

    def value_and_steering(self, w: Tensor) -> tuple[Tensor, Tensor]:
        value, jacobian = self.value_and_jacobian(w)
        return value, 3 * torch.eye(w.shape[1], dtype=w.dtype) - jacobian


def test_samples_that_an_inexact_matrix_fails_are_tried_again_with_the_jacobian() -> None:
    problem = case("contraction")
    start = torch.zeros(3, problem.state_size).double()
    found = solve(Misled(problem.layer, (problem.x,), batched=1).frozen(), start, Newton(tolerance=1e-12))
    assert found.converged.all()
    assert (found.evaluations > Newton().max_iterations).all()
    right = solve(FunctionMap(problem.layer, (problem.x,), batched=1).frozen(), start, Newton(tolerance=1e-12))
    torch.testing.assert_close(found.w, right.w, rtol=0, atol=1e-9)
