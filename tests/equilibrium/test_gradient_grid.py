"""Solver × adjoint × map: gradients of 4-qubit circuits and classical maps against independent ones."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch
from equilibrium_maps import dense_implicit_gradients, residual
from gradient_maps import CONTRACTING, MAPS, Model, dense_jacobians, model, pulled
from scipy import optimize
from torch import Tensor

from qdeq_qiskit.equilibrium import (
    JFB,
    Adjoint,
    Anderson,
    Broyden,
    ChordNewton,
    Equilibrium,
    ImplicitAdjoint,
    KrasnoselskiiMann,
    Newton,
    PhantomGradient,
    Picard,
    Shine,
    Solver,
    Unrolled,
)

SOLVERS = {
    "picard": Picard(tolerance=1e-14, max_iterations=300),
    "krasnoselskii_mann": KrasnoselskiiMann(tolerance=1e-14, max_iterations=600),
    "anderson": Anderson(tolerance=1e-14),
    "broyden": Broyden(tolerance=1e-14),
    "broyden, line search": Broyden(tolerance=1e-14, backtracks=3),
    "chord_newton": ChordNewton(tolerance=1e-14),
    "newton": Newton(tolerance=1e-14),
}
EXACT: dict[str, Adjoint] = {
    "dense": ImplicitAdjoint(),
    "picard": ImplicitAdjoint(solver=Picard(tolerance=1e-12, max_iterations=300)),
    "krasnoselskii_mann": ImplicitAdjoint(solver=KrasnoselskiiMann(tolerance=1e-12, max_iterations=600)),
    "anderson": ImplicitAdjoint(solver=Anderson(tolerance=1e-12)),
    "broyden": ImplicitAdjoint(solver=Broyden(tolerance=1e-12)),
    "broyden, line search": ImplicitAdjoint(solver=Broyden(tolerance=1e-12, backtracks=3)),
    "unrolled": Unrolled(),
}
COTANGENT = torch.randn(2, 4, generator=torch.Generator().manual_seed(9), dtype=torch.double)

every_map = pytest.mark.parametrize("name", MAPS)
every_solver = pytest.mark.parametrize("solver", SOLVERS)


def solved(problem: Model, solver: Solver, adjoint: Adjoint) -> tuple[Tensor, list[Tensor], Tensor]:
    """The fixed points, the gradients of Σ c · w* with respect to x and the parameters, and c."""
    x = problem.x.clone().requires_grad_()
    solution = problem.equilibrium(solver=solver, adjoint=adjoint, on_failure="raise")(x)
    w = solution.value.detach()
    assert residual(problem.plain, w, problem.x) < 1e-13
    assert solution.adjoint == adjoint.kind
    c = COTANGENT[:, : w.shape[1]]
    gradients = torch.autograd.grad((solution.value * c).sum(), [x, *problem.plain.parameters()])
    return w, list(gradients), c


@cache
def root_of(name: str) -> Tensor:
    """The fixed points by scipy, from where Newton's method of the library ends: the branch that all solvers take."""
    problem = model(name)
    start = problem.equilibrium(solver=Newton(tolerance=1e-10))(problem.x).value.detach().numpy()

    def difference(w: np.ndarray, b: int) -> np.ndarray:
        with torch.no_grad():
            point = torch.from_numpy(w).unsqueeze(0)
            return (problem.plain(point, problem.x[b : b + 1]) - point)[0].numpy()

    return torch.from_numpy(np.stack([optimize.root(difference, start[b], args=(b,), tol=1e-13).x for b in range(2)]))


@cache
def dense_gradients(name: str) -> list[Tensor]:
    problem = model(name)
    w = root_of(name)
    return dense_implicit_gradients(problem.plain, w, problem.x, COTANGENT[:, : w.shape[1]])


def skip_where_plain_iteration_cannot_converge(name: str, *kinds: str) -> None:
    if name not in CONTRACTING and "picard" in kinds:
        pytest.skip("the spectral radius exceeds 1, where plain iteration diverges")


@every_map
@pytest.mark.parametrize("adjoint", EXACT)
@every_solver
def test_every_exact_pair_gives_the_dense_implicit_gradient_to_1e_8(solver: str, adjoint: str, name: str) -> None:
    skip_where_plain_iteration_cannot_converge(name, solver, adjoint)
    w, gradients, _ = solved(model(name), SOLVERS[solver], EXACT[adjoint])
    torch.testing.assert_close(w, root_of(name), rtol=0, atol=1e-11)
    for got, expected in zip(gradients, dense_gradients(name), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


@every_map
def test_the_dense_implicit_gradient_is_that_of_finite_differences_of_scipys_roots(name: str) -> None:
    problem, w = model(name), root_of(name)
    c = COTANGENT[:, : w.shape[1]]
    x = problem.x.clone()

    def loss() -> float:
        total = 0.0
        for b in range(len(x)):

            def difference(point: np.ndarray, b: int = b) -> np.ndarray:
                with torch.no_grad():
                    row = torch.from_numpy(point).unsqueeze(0)
                    return (problem.plain(row, x[b : b + 1]) - row)[0].numpy()

            total += float(c[b].numpy() @ optimize.root(difference, w[b].numpy(), tol=1e-13).x)
        return total

    step = 1e-4
    for tensor, expected in zip([x, *problem.plain.parameters()], dense_gradients(name), strict=True):
        entries = tensor.data.view(-1)
        for i in range(0, len(entries), max(1, len(entries) // 6)):
            original, sides = float(entries[i]), []
            for shift in (step, -step, 2 * step, -2 * step):
                entries[i] = original + shift
                sides.append(loss())
            entries[i] = original
            slope = (8 * (sides[0] - sides[1]) - (sides[2] - sides[3])) / (12 * step)
            assert slope == pytest.approx(float(expected.reshape(-1)[i]), rel=1e-8, abs=1e-8)


@every_map
@pytest.mark.parametrize("damping", [1.0, 0.5])
@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("solver", ["newton", "broyden", "chord_newton"])
def test_the_phantom_gradient_is_that_of_damped_steps_from_the_fixed_point(
    name: str, solver: str, steps: int, damping: float
) -> None:
    problem = model(name)
    w, gradients, c = solved(problem, SOLVERS[solver], PhantomGradient(steps=steps, damping=damping))
    x = problem.x.clone().requires_grad_()
    point = w
    for _ in range(steps):
        point = (1 - damping) * point + damping * problem.plain(point, x)
    expected = torch.autograd.grad((point * c).sum(), [x, *problem.plain.parameters()])
    for got, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-9)


@every_map
def test_the_phantom_gradient_of_one_whole_step_is_jacobian_free_backpropagation(name: str) -> None:
    one = solved(model(name), SOLVERS["newton"], PhantomGradient(steps=1, damping=1.0))[1]
    for got, wanted in zip(one, solved(model(name), SOLVERS["newton"], JFB())[1], strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def test_the_phantom_gradient_of_many_damped_steps_is_the_implicit_one() -> None:
    many = solved(model("rotation"), SOLVERS["newton"], PhantomGradient(steps=400, damping=0.3))[1]
    for got, wanted in zip(many, dense_gradients("rotation"), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)


def broyden_inverse(problem: Model, b: int) -> np.ndarray:
    """(I − J)⁻¹ as the textbook's Broyden with a dense matrix leaves it when it has converged."""

    def g(w: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            point = torch.from_numpy(w).unsqueeze(0)
            return (problem.plain(point, problem.x[b : b + 1]) - point)[0].numpy()

    w, matrix = np.zeros(problem.state_size), -np.eye(problem.state_size)
    value = g(w)
    while np.linalg.norm(value) > 1e-8 * np.linalg.norm(w + value):
        step = -np.linalg.solve(matrix, value)
        new = g(w + step)
        matrix += np.outer(new - value - matrix @ step, step) / (step @ step)
        w, value = w + step, new
    return -np.linalg.inv(matrix)


@every_map
def test_shine_is_the_gradient_with_the_textbooks_broyden_matrix(name: str) -> None:
    problem = model(name)
    x = problem.x.clone().requires_grad_()
    solution = problem.equilibrium(solver=Broyden(tolerance=1e-8), adjoint=Shine())(x)
    c = COTANGENT[:, : problem.state_size]
    gradients = torch.autograd.grad((solution.value * c).sum(), [x, *problem.plain.parameters()])
    u = np.stack([broyden_inverse(problem, b).T @ c[b].numpy() for b in range(2)])
    assert solution.evaluations[0] != solution.evaluations[1] or name != "amplitude"  # they stop one by one
    expected = pulled(problem.plain, solution.value, problem.x, torch.from_numpy(u))
    for got, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-7)


def test_shine_falls_back_where_its_cotangent_is_too_large() -> None:
    problem = model("rotation")
    c = COTANGENT[:, :2]
    sizes = torch.stack(
        [torch.from_numpy(broyden_inverse(problem, b).T @ c[b].numpy()).norm() / c[b].norm() for b in range(2)]
    )
    between = float(sizes.sum()) / 2
    x = problem.x.clone().requires_grad_()
    equilibrium = problem.equilibrium(solver=Broyden(tolerance=1e-8), adjoint=Shine(fallback=between))
    gradient = torch.autograd.grad((equilibrium(x).value * c).sum(), x)[0]
    # f = A w + x: the gradient for x is u itself.
    fell = sizes > between
    assert fell.tolist().count(True) == 1
    torch.testing.assert_close(gradient[fell], c[fell])
    torch.testing.assert_close(gradient[~fell].norm() / c[~fell].norm(), sizes[~fell][0])


@every_map
@pytest.mark.parametrize("fallback", [math.inf, 0.5])
def test_shine_refined_by_enough_steps_is_the_dense_implicit_gradient(name: str, fallback: float) -> None:
    # Broyden's method on n linear equations ends after 2n steps; rounding may take one more.
    problem, adjoint = model(name), Shine(refine=9, fallback=fallback)
    _, gradients, _ = solved(problem, SOLVERS["broyden"], adjoint)
    for got, expected in zip(gradients, dense_gradients(name), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


@every_map
def test_a_step_of_refinement_is_a_quasi_newton_step_with_shines_inverse(name: str) -> None:
    problem = model(name)
    x = problem.x.clone().requires_grad_()
    solution = problem.equilibrium(solver=Broyden(tolerance=1e-8), adjoint=Shine(refine=1))(x)
    w, c = solution.value.detach(), COTANGENT[:, : problem.state_size]
    gradients = torch.autograd.grad((solution.value * c).sum(), [x, *problem.plain.parameters()])
    jacobian = dense_jacobians(problem.plain, w, problem.x)
    u = torch.empty_like(w)
    for b in range(2):
        inverse = torch.from_numpy(broyden_inverse(problem, b)).T
        first = inverse @ c[b]
        u[b] = first + inverse @ (jacobian[b].T @ first + c[b] - first)
    for got, wanted in zip(gradients, pulled(problem.plain, w, problem.x, u), strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-6)


def test_each_step_of_refinement_takes_one_product_and_tells_the_residual_that_it_began_with() -> None:
    problem = model("expanding")
    seen = []
    for steps in (1, 3, 8):
        solution = problem.equilibrium(solver=Broyden(tolerance=1e-8), adjoint=Shine(refine=steps))(problem.x)
        assert solution.backward is not None
        assert not solution.backward.ran
        solution.value.sum().backward()
        assert solution.backward.ran
        assert solution.backward.products.tolist() == [steps] * 2
        assert not solution.backward.converged.any()  # there is no tolerance
        seen.append(float(solution.backward.relative_residual.max()))
    assert seen[0] > 1e-4
    assert seen[2] < 1e-8


def test_further_derivatives_go_through_the_steps_of_refinement() -> None:
    problem, found = model("tanh"), []
    for adjoint in (ImplicitAdjoint(), Shine(refine=9)):
        equilibrium = problem.equilibrium(solver=Broyden(tolerance=1e-14), adjoint=adjoint)
        parameters = list(problem.plain.parameters())
        first = torch.autograd.grad(equilibrium(problem.x).value.square().sum(), parameters, create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), parameters))
    for dense, refined in zip(*found, strict=True):
        torch.testing.assert_close(refined, dense, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["amplitude", "rotation", "expanding", "tanh"])
def test_the_gradient_of_an_iterative_gradient_passes_gradgradcheck(name: str) -> None:
    problem = model(name)
    adjoint = ImplicitAdjoint(solver=Broyden(tolerance=1e-12))
    equilibrium = problem.equilibrium(solver=Newton(tolerance=1e-13), adjoint=adjoint)

    def value(x: Tensor) -> Tensor:
        return equilibrium(x).value

    x = problem.x[:1].clone().requires_grad_()
    assert torch.autograd.gradcheck(value, x, atol=1e-6)
    assert torch.autograd.gradgradcheck(value, x, atol=1e-6)


@every_map
def test_a_second_derivative_for_the_parameters_is_the_dense_ones(name: str) -> None:
    problem, found = model(name), []
    for adjoint in (ImplicitAdjoint(), ImplicitAdjoint(solver=Broyden(tolerance=1e-13))):
        equilibrium = problem.equilibrium(solver=Newton(tolerance=1e-14), adjoint=adjoint)
        parameters = list(problem.plain.parameters())
        first = torch.autograd.grad(equilibrium(problem.x).value.square().sum(), parameters, create_graph=True)
        found.append(torch.autograd.grad(sum(each.square().sum() for each in first), parameters))
    for dense, iterative in zip(*found, strict=True):
        torch.testing.assert_close(iterative, dense, rtol=1e-8, atol=1e-8)


def test_products_of_the_iterative_adjoint_stop_one_by_one_and_what_failed_is_said() -> None:
    problem = model("rotation")
    adjoint = ImplicitAdjoint(solver=Picard(max_iterations=20))
    x = torch.cat((problem.x, problem.x))
    solution = problem.equilibrium(solver=Newton(tolerance=1e-13), adjoint=adjoint)(x)
    assert solution.backward is not None
    assert not solution.backward.ran
    cotangent = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 0.0]]).double()
    with pytest.warns(match="2 of 4 samples have no gradient within the tolerance"):
        torch.autograd.grad(solution.value, list(problem.plain.parameters()), cotangent)
    assert solution.backward.ran
    assert solution.backward.converged.tolist() == [False, True, False, True]  # where g = 0, u = 0 at once
    assert solution.backward.products.tolist() == [21, 1, 21, 1]
    assert math.isclose(float(solution.backward.relative_residual[1]), 0, abs_tol=1e-12)


def test_what_failed_in_the_backward_pass_is_an_error_if_so_asked_and_silent_if_so_asked() -> None:
    problem = model("rotation")
    adjoint = ImplicitAdjoint(solver=Picard(max_iterations=20))
    options = {"solver": Newton(tolerance=1e-13), "adjoint": adjoint}
    with pytest.raises(RuntimeError, match="2 of 2 samples have no gradient"):
        problem.equilibrium(**options, on_failure="raise")(problem.x).value.sum().backward()
    solution = problem.equilibrium(**options, on_failure="record")(problem.x)
    solution.value.sum().backward()
    assert solution.backward is not None
    assert not solution.backward.converged.any()


def test_the_report_of_a_backward_pass_is_in_the_batchs_numbering_beside_bad_samples() -> None:
    problem = model("tanh")
    bad = torch.full((1, problem.x.shape[1]), math.nan).double()
    adjoint = ImplicitAdjoint(solver=Broyden())
    equilibrium = problem.equilibrium(solver=Newton(tolerance=1e-13), adjoint=adjoint, on_failure="record")
    solution = equilibrium(torch.cat((bad, problem.x[:1], bad, problem.x[1:])))
    solution.value.sum().backward()
    assert solution.backward is not None
    assert solution.backward.converged.tolist() == [False, True, False, True]
    assert (solution.backward.products > 0).tolist() == [False, True, False, True]
    assert solution.backward.relative_residual.isnan().tolist() == [True, False, True, False]


def test_the_report_is_so_numbered_also_beside_samples_of_which_f_is_never_finite() -> None:
    class Overflowing(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.tensor(0.5).double())

        def forward(self, w: Tensor, x: Tensor) -> Tensor:
            return self.weight * torch.cos(w) * torch.exp(x) / torch.exp(x).abs()

    adjoint = ImplicitAdjoint(solver=Broyden())
    equilibrium = Equilibrium(Overflowing(), state_size=1, adjoint=adjoint, on_failure="record")
    solution = equilibrium(torch.tensor([[math.nan], [0.0], [1e4], [1.0]]).double())
    solution.value.sum().backward()
    assert solution.backward is not None
    assert solution.backward.converged.tolist() == [False, True, False, True]


@pytest.mark.parametrize(
    ("adjoint", "message"),
    [
        (lambda: ImplicitAdjoint(solver="newton"), "'newton' wants Jacobians.*choose one of 'anderson', 'broyden'"),
        (lambda: ImplicitAdjoint(solver="chord_newton"), "'chord_newton' wants Jacobians"),
        (lambda: ImplicitAdjoint(solver="sampled"), "'sampled' wants Jacobians"),
        (lambda: ImplicitAdjoint(solver="broyde"), "Did you mean 'broyden'"),
        (lambda: ImplicitAdjoint(solver={"kind": "broyden", "memry": 3}), "Did you mean 'memory'"),
        (lambda: ImplicitAdjoint(solver={"memory": 3}), "needs a kind"),
        (lambda: ImplicitAdjoint(solver=3), "must be a solver, its kind, or a mapping"),
        (lambda: ImplicitAdjoint(floor=2.0), "floor must be a number .* it is 2.0"),
        (lambda: PhantomGradient(steps=0), "steps must be an integer, at least 1; it is 0"),
        (lambda: PhantomGradient(damping=1.5), "damping must be a number"),
        (lambda: Shine(fallback=0.0), "fallback must be a number greater than 0"),
        (lambda: Shine(refine=-1), "refine must be an integer, at least 0; it is -1"),
        (
            lambda: model("tanh").equilibrium(adjoint=Shine()),
            "'shine' needs a solver that estimates.*'newton' does not",
        ),
    ],
)
def test_a_wrong_adjoint_is_refused_with_what_would_be_right(adjoint: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adjoint()  # type: ignore[operator]


def test_the_backward_solver_may_be_named_as_in_a_recipe() -> None:
    named = ImplicitAdjoint(solver={"kind": "broyden", "tolerance": 1e-6})
    assert named == ImplicitAdjoint(solver=Broyden(tolerance=1e-6))
    assert ImplicitAdjoint(solver="anderson") == ImplicitAdjoint(solver=Anderson())
