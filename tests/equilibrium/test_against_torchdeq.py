"""torchdeq, an independent library, where it is right: one sample, contractions, tolerances that it reaches."""

from __future__ import annotations

import pytest
import torch
from gradient_maps import model
from torch import Tensor

from qdeq_qiskit.equilibrium import (
    Anderson,
    Broyden,
    Equilibrium,
    HutchinsonPenalty,
    ImplicitAdjoint,
    KrasnoselskiiMann,
    Newton,
    PhantomGradient,
    Picard,
    Solver,
)

torchdeq = pytest.importorskip("torchdeq", reason="torchdeq is not installed: pip install torchdeq==0.1.0")

MAPS = ("amplitude", "angle", "contraction", "tanh")
COTANGENT = torch.randn(1, 4, generator=torch.Generator().manual_seed(9), dtype=torch.double)
TIGHT = {"f_max_iter": 300, "f_tol": 1e-13, "b_max_iter": 300, "b_tol": 1e-13, "f_stop_mode": "rel"}


def theirs(name: str, **options: object) -> tuple[Tensor, list[Tensor]]:
    """The fixed point of the first sample and the gradients of c · w* for x and the parameters, by torchdeq."""
    problem = model(name)
    x = problem.x[:1].clone().requires_grad_()
    deq = torchdeq.get_deq(**{**TIGHT, **options})
    found, _ = deq(lambda w: problem.plain(w, x), torch.zeros(1, problem.state_size).double())
    value = found[-1]
    c = COTANGENT[:, : problem.state_size]
    return value.detach(), list(torch.autograd.grad((value * c).sum(), [x, *problem.plain.parameters()]))


def ours(name: str, **options: object) -> tuple[Tensor, list[Tensor]]:
    """The same by the library."""
    problem = model(name)
    x = problem.x[:1].clone().requires_grad_()
    value = problem.equilibrium(**options)(x).value
    c = COTANGENT[:, : problem.state_size]
    return value.detach(), list(torch.autograd.grad((value * c).sum(), [x, *problem.plain.parameters()]))


def check(found: tuple[Tensor, list[Tensor]], expected: tuple[Tensor, list[Tensor]], tolerance: float) -> None:
    torch.testing.assert_close(found[0], expected[0], rtol=0, atol=tolerance)
    for got, wanted in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(got, wanted, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(
    ("kind", "solver"),
    [
        ("broyden", Broyden(tolerance=1e-13)),
        ("fixed_point_iter", Picard(tolerance=1e-13, max_iterations=300)),
    ],
)
def test_fixed_points_and_implicit_gradients_agree(name: str, kind: str, solver: Solver) -> None:
    expected = theirs(name, ift=True, f_solver=kind, b_solver=kind)
    for adjoint in (ImplicitAdjoint(), ImplicitAdjoint(solver=solver)):
        check(ours(name, solver=solver, adjoint=adjoint), expected, 1e-8)


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize(("steps", "damping"), [(1, 1.0), (3, 1.0), (5, 0.5)])
def test_phantom_gradients_agree(name: str, steps: int, damping: float) -> None:
    expected = theirs(name, grad=steps, tau=damping, f_solver="broyden")
    found = ours(name, solver=Newton(tolerance=1e-13), adjoint=PhantomGradient(steps=steps, damping=damping))
    check((expected[0], found[1]), expected, 1e-8)


@pytest.mark.parametrize("name", ["contraction", "tanh"])
def test_the_hutchinson_penalty_of_the_same_draw_agrees(name: str) -> None:
    problem = model(name)
    solver = Newton(tolerance=1e-13)
    penalty = HutchinsonPenalty(distribution="normal")
    torch.manual_seed(3)
    solution = Equilibrium(problem.layer, state_size=problem.state_size, solver=solver, penalty=penalty)(problem.x)
    torch.manual_seed(3)
    point = solution.value.detach().requires_grad_()
    expected = torchdeq.loss.jac_reg(problem.plain(point, problem.x), point)
    torch.testing.assert_close(solution.penalty, expected)


def test_where_theirs_needs_an_absolute_ridge_ours_goes_on() -> None:
    # Its Anderson adds 1e-4 to the Gram matrix; ours reaches what Newton's method finds.
    problem = model("contraction")
    exact = problem.equilibrium(solver=Newton(tolerance=1e-14))(problem.x).value
    for solver in (Anderson(tolerance=1e-13), KrasnoselskiiMann(tolerance=1e-13, max_iterations=600)):
        value = problem.equilibrium(solver=solver)(problem.x).value
        torch.testing.assert_close(value, exact, rtol=0, atol=1e-12)
