"""Each solver's own promise: where it converges, how fast, and what its options do."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from equilibrium_maps import CASES, LiftedReadout, case, readout_operators, repeated_lift
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from qdeq_qiskit.equilibrium import (
    SOLVERS,
    Anderson,
    Broyden,
    ChordNewton,
    FunctionMap,
    KrasnoselskiiMann,
    Newton,
    Picard,
    Solver,
    make_solver,
    solve,
)
from qdeq_qiskit.equilibrium._options import kinds_in

ACCELERATED = [
    Anderson(tolerance=1e-12),
    Broyden(tolerance=1e-12),
    Broyden(tolerance=1e-12, backtracks=3),
    ChordNewton(tolerance=1e-12),
    Newton(tolerance=1e-12),
]
DAMPED = KrasnoselskiiMann(tolerance=1e-12, max_iterations=2000)


def linear_map(matrix: np.ndarray, x: np.ndarray) -> FunctionMap:
    return FunctionMap(
        lambda w, x, matrix: w @ matrix.mT + x, (torch.from_numpy(x), torch.from_numpy(matrix)), batched=1
    )


def zeros(samples: int, size: int) -> Tensor:
    return torch.zeros(samples, size, dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("solver", [*ACCELERATED, DAMPED], ids=lambda s: s.kind)
def test_the_fixed_point_is_found_to_twelve_digits(solver: Solver, name: str) -> None:
    problem = case(name, samples=8)
    root = solve(FunctionMap(problem.layer, (problem.x,), batched=1), zeros(8, problem.state_size), solver)
    value = problem.layer(root.w, problem.x)
    relative = (value - root.w).norm(dim=1) / value.norm(dim=1)
    assert float(relative.max()) <= 1.01e-12


@torch.no_grad()
def test_plain_iteration_reports_that_an_expanding_rotation_does_not_converge() -> None:
    problem = case("rotation")
    root = solve(FunctionMap(problem.layer, (problem.x,), batched=1), zeros(3, 2), Picard())
    assert root.converged.tolist() == [False] * 3


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 6), norm=st.floats(0.0, 0.9))
@torch.no_grad()
def test_every_solver_finds_the_fixed_point_of_a_drawn_linear_contraction(seed: int, size: int, norm: float) -> None:
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(size, size))
    matrix *= norm / np.linalg.norm(matrix, 2)
    x = random.normal(size=(4, size))
    expected = np.linalg.solve(np.eye(size) - matrix, x.T).T
    for solver in (*ACCELERATED, DAMPED, Picard(tolerance=1e-12, max_iterations=500)):
        root = solve(linear_map(matrix, x), zeros(4, size), solver)
        assert bool(root.converged.all()), solver
        np.testing.assert_allclose(root.w.numpy(), expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), angle=st.floats(0.3, math.pi), stretch=st.floats(1.0, 3.0))
@torch.no_grad()
def test_newton_solves_drawn_maps_that_do_not_contract(seed: int, angle: float, stretch: float) -> None:
    random = np.random.default_rng(seed)
    turn = stretch * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    x = random.normal(size=(4, 2))
    expected = np.linalg.solve(np.eye(2) - turn, x.T).T
    root = solve(linear_map(turn, x), zeros(4, 2), Newton(tolerance=1e-12))
    assert bool(root.converged.all())
    np.testing.assert_allclose(root.w.numpy(), expected, rtol=1e-9, atol=1e-9)


@torch.no_grad()
def test_newton_is_quadratic_near_the_root() -> None:
    problem = case("tanh", samples=1)
    solver = Newton(tolerance=1e-15, picard_steps=0, pseudo_steps=(math.inf,))
    root = solve(FunctionMap(problem.layer, (problem.x,), batched=1), zeros(1, 3), solver, trace=True)
    assert root.trace is not None
    errors = [float(r) for r in root.trace if 1e-15 < float(r) < 0.1]
    assert all(after < 10 * before**2 + 1e-15 for before, after in pairwise(errors))


@torch.no_grad()
def test_newton_leaves_few_samples_of_random_quantum_like_maps_unsolved() -> None:
    lift = repeated_lift(16, 4)
    plain, robust = 0, 0
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        x = (2.5 * torch.rand(256, 16, generator=generator, dtype=torch.float64) ** 3 - 0.42) / 2
        layer = LiftedReadout(readout_operators(4, 16, seed), lift)
        # J of all state entries at once: the same autograd, four backward passes.
        fixed_point_map = FunctionMap(layer, (x,), batched=1)
        plain += solve(fixed_point_map, zeros(256, 4), Newton(picard_steps=0, pseudo_steps=(math.inf,))).unconverged
        robust += solve(fixed_point_map, zeros(256, 4), Newton()).unconverged
    assert plain > 30, "the maps are hard enough to tell"
    assert robust <= plain / 8


@torch.no_grad()
@pytest.mark.parametrize("solver", [Newton(), Anderson(), Broyden(), KrasnoselskiiMann()], ids=lambda s: s.kind)
def test_a_relative_residual_of_1e_4_is_reached_in_single_precision(solver: Solver) -> None:
    problem = case("tanh", samples=64)
    layer = problem.layer.float()
    root = solve(FunctionMap(layer, (problem.x.float(),), batched=1), torch.zeros(64, 3), solver)
    assert root.w.dtype == torch.float32
    assert root.unconverged == 0


@torch.no_grad()
def test_andersons_ridge_does_not_limit_the_tolerance_however_large_or_small_the_numbers() -> None:
    # An absolute ridge of 1e-4, as others have it, stops acceleration where the residuals are below 1e-2.
    random = np.random.default_rng(1)
    turn = np.linalg.qr(random.normal(size=(4, 4)))[0] * 0.97
    for scale in (1e-6, 1.0, 1e6):
        x = scale * random.normal(size=(8, 4))
        root = solve(linear_map(turn, x), zeros(8, 4), Anderson(tolerance=1e-13, memory=4))
        assert bool(root.converged.all()), scale
        assert int(root.evaluations.max()) < 12, scale


@torch.no_grad()
def test_broyden_ends_on_a_linear_map_within_twice_its_dimension() -> None:
    # Gay, SIAM J. Numer. Anal. 16 (1979) 623: at most 2n steps.
    random = np.random.default_rng(2)
    for size in (2, 3, 5):
        matrix = random.normal(size=(size, size)) / size
        root = solve(linear_map(matrix, random.normal(size=(6, size))), zeros(6, size), Broyden(tolerance=1e-9))
        assert bool(root.converged.all())
        assert int(root.iterations.max()) <= 2 * size + 1


@torch.no_grad()
def test_broydens_iterates_are_those_of_the_textbooks_dense_matrix() -> None:
    problem = case("quantum", samples=1)
    visited = []

    def layer(w: Tensor, x: Tensor) -> Tensor:
        visited.append(w[0].numpy().copy())
        return problem.layer(w, x)

    solve(FunctionMap(layer, (problem.x,), batched=1), zeros(1, 3), Broyden(tolerance=0, max_iterations=7))

    def g(w: np.ndarray) -> np.ndarray:
        return problem.layer(torch.from_numpy(w).unsqueeze(0), problem.x)[0].numpy() - w

    w, matrix = np.zeros(3), -np.eye(3)
    for visit in visited:
        np.testing.assert_allclose(visit, w, rtol=1e-7, atol=1e-9)
        step = -np.linalg.solve(matrix, g(w))
        change = g(w + step) - g(w)
        matrix += np.outer(change - matrix @ step, step) / (step @ step)
        w = w + step


@torch.no_grad()
def test_broyden_with_a_short_memory_keeps_no_more_than_it_says() -> None:
    solver = Broyden(memory=2, tolerance=0, max_iterations=9)
    longest = 0

    class Watched(Broyden.__mro__[1]):  # type: ignore[misc,name-defined]
        kind, uses_jacobian, tolerance, max_iterations = "watched", False, 0, 9

        def step(self, now, state):  # type: ignore[no-untyped-def]
            nonlocal longest
            w, state = solver.step(now, state)
            longest = max(longest, len(state))
            return w, state

    problem = case("quantum")
    solve(FunctionMap(problem.layer, (problem.x,), batched=1), zeros(3, 3), Watched())
    assert longest == 2 + 2 * 2


@torch.no_grad()
def test_damping_converges_on_a_rotation_where_plain_iteration_circles() -> None:
    quarter = np.array([[0.0, -1.0], [1.0, 0.0]])
    x = np.array([[1.0, 2.0]])
    assert not bool(solve(linear_map(quarter, x), zeros(1, 2), Picard()).converged)
    root = solve(linear_map(quarter, x), zeros(1, 2), DAMPED)
    np.testing.assert_allclose(root.w.numpy(), np.linalg.solve(np.eye(2) - quarter, x.T).T, rtol=1e-10)


@torch.no_grad()
def test_averaging_the_tail_removes_most_of_the_noise_of_a_sampled_map() -> None:
    generator = torch.Generator().manual_seed(3)
    problem = case("tanh", samples=200)

    def sampled(w: Tensor, x: Tensor) -> Tensor:
        return problem.layer(w, x) + 0.05 * torch.randn(w.shape, generator=generator, dtype=w.dtype)

    exact = solve(FunctionMap(problem.layer, (problem.x,), batched=1), zeros(200, 3), Newton(tolerance=1e-12)).w
    errors = {}
    for name, solver in {
        "last": KrasnoselskiiMann(max_iterations=40, damping=1.0),
        "mean": KrasnoselskiiMann(max_iterations=40, average=True),
        "decreasing": KrasnoselskiiMann(max_iterations=40, damping=1.0, decay=0.7),
    }.items():
        root = solve(FunctionMap(sampled, (problem.x,), batched=1), zeros(200, 3), solver)
        errors[name] = float((root.w - exact).norm(dim=1).median())
        assert (root.evaluations == 41 + solver.average).all()
        assert (root.iterations == 40).all()
    assert errors["mean"] < 0.4 * errors["last"]
    assert errors["decreasing"] < 0.7 * errors["last"]


@torch.no_grad()
def test_the_mean_is_over_the_tail_of_the_iterates() -> None:
    # w ← w + (1 − w/4) / 2 by hand; the mean of the last half of six iterates.
    solver = KrasnoselskiiMann(max_iterations=6, damping=0.5, average=True, tolerance=0)
    root = solve(FunctionMap(lambda w: 1 + 0.75 * w, (), batched=0), zeros(1, 1), solver)
    w, iterates = 0.0, []
    for _ in range(6):
        w += 0.5 * (1 + 0.75 * w - w)
        iterates.append(w)
    assert root.w.item() == pytest.approx(sum(iterates[3:]) / 3)


def test_every_solver_has_a_name_and_is_made_by_it() -> None:
    assert {"picard", "krasnoselskii_mann", "anderson", "broyden", "newton"} <= set(SOLVERS)
    for kind, solver in SOLVERS.items():
        assert make_solver(kind) == solver()
        assert make_solver(kind, tolerance=1e-6).tolerance == 1e-6


def test_two_files_cannot_claim_one_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "rival_solvers"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name in ("first", "second"):
        (folder / f"{name}.py").write_text(
            f"from qdeq_qiskit.equilibrium import Solver\nclass {name.title()}(Solver):\n    kind = 'same'\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeError, match=r"second\.Second: kind 'same' is taken by .*First"):
        kinds_in("rival_solvers", [str(folder)], Solver)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("newtom", {}, "Did you mean 'newton'"),
        ("newton", {"tolerence": 1e-3}, "Did you mean 'tolerance'"),
        ("newton", {"tolerance": -1e-3}, "tolerance must be a number at least 0; it is -0.001"),
        ("newton", {"tolerance": math.nan}, "tolerance must be"),
        ("newton", {"tolerance": "1e-3"}, "tolerance must be a number"),
        ("newton", {"max_iterations": 0}, "max_iterations must be an integer, at least 1; it is 0"),
        ("newton", {"max_iterations": 2.5}, "max_iterations must be an integer"),
        ("newton", {"pseudo_steps": ()}, "at least one"),
        ("newton", {"pseudo_steps": (1.0, -1.0)}, "greater than 0"),
        ("newton", {"pseudo_steps": 3.0}, "pseudo_steps must be a sequence"),
        ("anderson", {"memory": 0}, "memory"),
        ("anderson", {"ridge": -1.0}, "ridge"),
        ("anderson", {"damping": 0.0}, "damping"),
        ("broyden", {"memory": True}, "memory"),
        ("broyden", {"backtracks": -1}, "backtracks must be an integer, at least 0; it is -1"),
        ("chord_newton", {"stall": 0.0}, "stall must be a number greater than 0 and at most 1; it is 0.0"),
        ("chord_newton", {"refreshes": -1}, "refreshes must be an integer, at least 0"),
        ("chord_newton", {"decay": 2.0}, "decay must be a number at least 0 and at most 1; it is 2.0"),
        ("chord_newton", {"picard_steps": -1}, "picard_steps"),
        ("krasnoselskii_mann", {"damping": 1.5}, "damping must be a number greater than 0 and at most 1; it is 1.5"),
        ("krasnoselskii_mann", {"tail": 0.0}, "tail"),
        ("krasnoselskii_mann", {"decay": 2.0}, "decay"),
        ("krasnoselskii_mann", {"average": "yes"}, "average"),
    ],
)
def test_a_wrong_option_is_refused_with_its_name_its_value_and_what_would_be_right(
    kind: str, options: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make_solver(kind, **options)


def test_solvers_are_immutable() -> None:
    with pytest.raises(AttributeError):
        Newton().tolerance = 1e-3  # type: ignore[misc]
    assert replace(Newton(), tolerance=1e-3).tolerance == 1e-3
