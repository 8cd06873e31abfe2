"""Broyden's line search: what it costs, and where it finds what full steps do not."""

from __future__ import annotations

import numpy as np
import torch
from equilibrium_maps import case
from torch import Tensor

from qdeq_qiskit.equilibrium import Broyden, FunctionMap, solve


def steep(w: Tensor, x: Tensor) -> Tensor:
    """w − 3 arctan(w − x): from afar, full steps on arctan overshoot further and further."""
    return w - 3 * torch.atan(w - x)


@torch.no_grad()
def test_where_every_full_step_lessens_the_residual_the_iterates_and_their_number_are_the_same() -> None:
    problem = case("tanh", samples=16)
    fixed_point_map = FunctionMap(problem.layer, (problem.x,), batched=1)
    start = torch.zeros(16, 3).double()
    plain, searched = (solve(fixed_point_map, start, Broyden(tolerance=1e-10, backtracks=count)) for count in (0, 4))
    assert torch.equal(plain.w, searched.w)
    assert torch.equal(plain.evaluations, searched.evaluations)


@torch.no_grad()
def test_the_first_trial_beyond_the_root_is_shortened_to_the_parabolas_least() -> None:
    visited = []

    def layer(w: Tensor) -> Tensor:
        visited.append(float(w))
        return w - 5 * torch.atan(2 * (w - 1))

    solve(FunctionMap(layer, (), batched=0), torch.tensor([[0.3]]).double(), Broyden(backtracks=2, max_iterations=4))

    def g(w: float) -> float:
        return -5 * np.arctan(2 * (w - 1))

    w, s = 0.3, 1.0
    step = g(w)
    expected = [w, w + step]
    while len(expected) < 4:
        ratio, k = abs(g(w + s * step) / g(w)), len(expected) - 1
        if ratio <= 1 - 1e-4 * s + 1 / (k + 1) ** 2:
            break
        s = min(max(s**2 / (ratio**2 - 1 + 2 * s), s / 10), s / 2)
        expected.append(w + s * step)
    assert len(expected) > 2, "the first trial must be refused for this to say anything"
    np.testing.assert_allclose(visited[: len(expected)], expected, atol=1e-12)


@torch.no_grad()
def test_a_first_step_may_climb_a_little() -> None:
    visited: list[float] = []

    def layer(w: Tensor) -> Tensor:
        visited.append(float(w))
        return w - 3.5 * torch.atan(w - 1)

    start = torch.tensor([[-0.6]]).double()
    for count in (0, 3):
        solve(FunctionMap(layer, (), batched=0), start, Broyden(backtracks=count, max_iterations=2))
    sizes = [3.5 * abs(np.arctan(w - 1)) for w in visited]
    assert 1 < sizes[1] / sizes[0] < 1.25
    assert visited[:3] == visited[3:]


@torch.no_grad()
def test_samples_that_full_steps_lose_are_found_for_few_evaluations_more() -> None:
    generator = torch.Generator().manual_seed(1)
    x = 4 * torch.randn(200, 1, generator=generator, dtype=torch.double)
    start = torch.zeros(200, 1).double()

    def stiff(w: Tensor, x: Tensor) -> Tensor:
        return w - 5 * torch.atan(2 * (w - x)) - 0.2 * (w - x)

    plain, searched = (
        solve(FunctionMap(stiff, (x,), batched=1), start, Broyden(tolerance=1e-8, max_iterations=60, backtracks=count))
        for count in (0, 5)
    )
    assert plain.unconverged > 50
    assert searched.unconverged == 0
    torch.testing.assert_close(searched.w[searched.converged], x[searched.converged], rtol=1e-6, atol=1e-6)
    assert float(searched.evaluations.double().mean()) < 12


@torch.no_grad()
def test_a_step_is_shortened_for_the_samples_alone_that_need_it() -> None:
    x = torch.tensor([[1.6], [0.2], [0.1]]).double()
    alone = [solve(FunctionMap(steep, (x[b : b + 1],), batched=1), x[:1] * 0, Broyden(backtracks=3)) for b in range(3)]
    together = solve(FunctionMap(steep, (x,), batched=1), x * 0, Broyden(backtracks=3))
    for b in range(3):
        torch.testing.assert_close(together.w[b], alone[b].w[0], rtol=0, atol=1e-12)
        assert together.evaluations[b] == alone[b].evaluations[0]


@torch.no_grad()
def test_a_short_memory_is_kept_beside_the_line_search() -> None:
    solver, longest = Broyden(memory=2, backtracks=3, tolerance=0, max_iterations=12), 0

    class Watched(Broyden.__mro__[1]):  # type: ignore[misc,name-defined]
        kind, uses_jacobian, tolerance, max_iterations = "watched", False, 0, 12

        def step(self, now, state):  # type: ignore[no-untyped-def]
            nonlocal longest
            w, state = solver.step(now, state)
            longest = max(longest, len(state))
            return w, state

    problem = case("quantum")
    solve(FunctionMap(problem.layer, (problem.x,), batched=1), torch.zeros(3, 3).double(), Watched())
    assert longest == 4 + 2 * 2


@torch.no_grad()
def test_a_refused_trial_leaves_the_estimate_of_the_inverse_as_it_was() -> None:
    problem = case("quantum", samples=32)
    fixed_point_map = FunctionMap(problem.layer, (problem.x,), batched=1)
    root = solve(fixed_point_map, torch.zeros(32, 3).double(), Broyden(tolerance=1e-9, backtracks=3), keep_inverse=True)
    assert root.inverse is not None
    dense = torch.linalg.inv(torch.eye(3).double() - fixed_point_map.value_and_jacobian(root.w)[1])
    error = torch.linalg.matrix_norm(root.inverse - dense) / torch.linalg.matrix_norm(dense)
    plain = solve(fixed_point_map, torch.zeros(32, 3).double(), Broyden(tolerance=1e-9), keep_inverse=True)
    assert plain.inverse is not None
    plain_error = torch.linalg.matrix_norm(plain.inverse - dense) / torch.linalg.matrix_norm(dense)
    both = root.converged & plain.converged
    assert float(error[both].median()) < 1.5 * float(plain_error[both].median()) < 0.5
