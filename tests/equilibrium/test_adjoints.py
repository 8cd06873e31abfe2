"""Gradients: every solver × adjoint × map against finite differences and an independent dense implicit gradient."""

import gc
import math
import weakref

import pytest
import torch
from equilibrium_maps import CASES, case, dense_implicit_gradients, finite_difference_gradients, residual
from torch import Tensor, nn

from qdeq_qiskit.equilibrium import (
    ADJOINTS,
    JFB,
    Anderson,
    Broyden,
    Equilibrium,
    ImplicitAdjoint,
    KrasnoselskiiMann,
    Newton,
    Picard,
    Solver,
    Unrolled,
    make_adjoint,
)

SOLVERS = [
    Picard(tolerance=1e-14, max_iterations=500),
    KrasnoselskiiMann(tolerance=1e-14, max_iterations=500),
    Anderson(tolerance=1e-14),
    Broyden(tolerance=1e-14),
    Newton(tolerance=1e-14),
]
every_solver = pytest.mark.parametrize("solver", SOLVERS, ids=lambda s: s.kind)
every_case = pytest.mark.parametrize("name", CASES)


def cotangent_like(w: Tensor) -> Tensor:
    return torch.randn(w.shape, generator=torch.Generator().manual_seed(9), dtype=w.dtype)


def solved(name: str, solver: Solver, adjoint: object) -> tuple[Tensor, nn.Module, Tensor, list[Tensor], Tensor]:
    """The fixed point, the layer, x, the gradients of Σ c · w*, and c."""
    if name == "rotation" and solver.kind == "picard":
        pytest.skip("plain iteration cannot converge on an expanding rotation")
    problem = case(name)
    x = problem.x.clone().requires_grad_()
    equilibrium = Equilibrium(
        problem.layer, state_size=problem.state_size, solver=solver, adjoint=adjoint, on_failure="raise"
    )
    solution = equilibrium(x)
    # Whatever root was found: that it is one comes first, and gradients are compared on its branch.
    assert residual(problem.layer, solution.value, problem.x) < 1e-13
    assert solution.adjoint == adjoint.kind
    cotangent = cotangent_like(solution.value)
    gradients = torch.autograd.grad((solution.value * cotangent).sum(), [x, *problem.layer.parameters()])
    return solution.value.detach(), problem.layer, problem.x, list(gradients), cotangent


@every_case
@every_solver
@pytest.mark.parametrize("adjoint", [ImplicitAdjoint(), Unrolled()], ids=lambda a: a.kind)
def test_the_gradient_is_the_dense_implicit_one_to_1e_8(name: str, solver: Solver, adjoint: object) -> None:
    w, layer, x, gradients, cotangent = solved(name, solver, adjoint)
    for got, expected in zip(gradients, dense_implicit_gradients(layer, w, x, cotangent), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-8, atol=1e-8)


@every_case
@pytest.mark.parametrize("adjoint", [ImplicitAdjoint(), Unrolled()], ids=lambda a: a.kind)
def test_the_gradient_is_that_of_finite_differences(name: str, adjoint: object) -> None:
    w, layer, x, gradients, cotangent = solved(name, Newton(tolerance=1e-14), adjoint)
    for got, expected in zip(gradients, finite_difference_gradients(layer, w, x, cotangent), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-7, atol=1e-8)


@every_case
@every_solver
def test_jfb_is_the_gradient_of_one_application_at_the_fixed_point(name: str, solver: Solver) -> None:
    w, layer, x, gradients, cotangent = solved(name, solver, JFB())
    x = x.clone().requires_grad_()
    expected = torch.autograd.grad((layer(w, x) * cotangent).sum(), [x, *layer.parameters()])
    for got, wanted in zip(gradients, expected, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-10)


def test_the_bias_of_jfb_on_a_linear_map_is_its_closed_form() -> None:
    # f = A w + x: the true gradient with respect to x is (I − Aᵀ)⁻¹ c, JFB's is c.
    _, layer, _, gradients, cotangent = solved("contraction", Newton(tolerance=1e-14), JFB())
    matrix = layer.matrix.detach()
    true = torch.linalg.solve(torch.eye(3).double() - matrix.T, cotangent.T).T
    bias = torch.linalg.solve(torch.eye(3).double() - matrix.T, matrix.T @ cotangent.T).T
    torch.testing.assert_close(true - gradients[0], bias)


@every_case
def test_implicit_gradients_and_their_gradients_pass_gradcheck(name: str) -> None:
    problem = case(name, samples=2)
    names = [f"layer.{name}" for name, _ in problem.layer.named_parameters()]
    equilibrium = Equilibrium(problem.layer, state_size=problem.state_size, solver=Newton(tolerance=1e-14))

    def value(x: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(equilibrium, dict(zip(names, parameters, strict=True)), (x,)).value

    inputs = [problem.x.clone().requires_grad_()]
    inputs += [p.detach().clone().requires_grad_() for p in problem.layer.parameters()]
    assert torch.autograd.gradcheck(value, inputs, atol=1e-6)
    assert torch.autograd.gradgradcheck(value, inputs, atol=1e-6)


@pytest.mark.parametrize("adjoint", [ImplicitAdjoint(), JFB()], ids=lambda a: a.kind)
def test_the_gradient_recorded_for_a_second_derivative_is_the_plain_one(adjoint: object) -> None:
    problem = case("quantum")
    equilibrium = Equilibrium(problem.layer, state_size=3, adjoint=adjoint, solver=Newton(tolerance=1e-14))
    gradients = []
    for create_graph in (False, True):
        x = problem.x.clone().requires_grad_()
        value = equilibrium(x).value
        targets = [x, *problem.layer.parameters()]
        gradients.append(torch.autograd.grad(value.square().sum(), targets, create_graph=create_graph))
    for plain, recorded in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recorded.detach(), rtol=1e-12, atol=1e-12)


def test_two_solves_in_one_graph_add_up() -> None:
    problem = case("tanh")
    equilibrium = Equilibrium(problem.layer, state_size=3, solver=Newton(tolerance=1e-14))
    parameters = list(problem.layer.parameters())
    first, second = problem.x, problem.x.flip(1) * 0.5
    together = torch.autograd.grad(
        equilibrium(first).value.sum() + 3 * equilibrium(second).value.square().sum(), parameters
    )
    alone_first = torch.autograd.grad(equilibrium(first).value.sum(), parameters)
    alone_second = torch.autograd.grad(3 * equilibrium(second).value.square().sum(), parameters)
    for both, one, other in zip(together, alone_first, alone_second, strict=True):
        torch.testing.assert_close(both, one + other)


def test_one_solve_fed_to_another_is_differentiated_through_both() -> None:
    problem = case("tanh")
    chained = Equilibrium(problem.layer, state_size=3, solver=Newton(tolerance=1e-14))

    def twice(x: Tensor) -> Tensor:
        first = chained(x).value
        return chained(torch.cat((first, x[:, :1]), dim=1)).value

    x = problem.x.clone().requires_grad_()
    assert torch.autograd.gradcheck(twice, (x,))


def test_an_equilibrium_inside_the_layer_of_another_is_differentiated_and_once_more() -> None:
    inner_case = case("tanh", samples=2)
    inner = Equilibrium(inner_case.layer, state_size=3, solver=Newton(tolerance=1e-14))

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner
            self.scale = nn.Parameter(torch.tensor(0.3).double())

        def forward(self, w: Tensor, x: Tensor) -> Tensor:
            return self.scale * self.inner(torch.cat((x[:, :1], w), dim=1)).value + x[:, 1:]

    outer = Equilibrium(Outer(), state_size=3, solver=Newton(tolerance=1e-14))

    def value(x: Tensor, scale: Tensor) -> Tensor:
        return torch.func.functional_call(outer, {"layer.scale": scale}, (x,)).value

    inputs = (inner_case.x.clone().requires_grad_(), torch.tensor(0.3).double().requires_grad_())
    assert torch.autograd.gradcheck(value, inputs)
    assert torch.autograd.gradgradcheck(value, inputs, atol=1e-6)


def test_backward_may_run_twice_on_a_retained_graph() -> None:
    problem = case("quantum")
    equilibrium = Equilibrium(problem.layer, state_size=3)
    loss = equilibrium(problem.x).value.sum()
    parameters = list(problem.layer.parameters())
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    second = torch.autograd.grad(loss, parameters)
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("adjoint", [ImplicitAdjoint(), JFB()], ids=lambda a: a.kind)
def test_a_parameter_changed_in_place_before_backward_is_an_error(adjoint: object) -> None:
    problem = case("tanh")
    loss = Equilibrium(problem.layer, state_size=3, adjoint=adjoint)(problem.x).value.sum()
    with torch.no_grad():
        problem.layer.matrix.add_(0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


class Saved:
    """A tensor that autograd keeps; gone when autograd lets go of it."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # an output that holds itself would never be let go


def saved_bytes(solver: Solver, adjoint: object) -> int:
    """What autograd keeps between forward and backward."""
    problem = case("tanh", samples=16)
    equilibrium = Equilibrium(problem.layer, state_size=3, solver=solver, adjoint=adjoint, on_failure="record")
    kept: weakref.WeakSet[Saved] = weakref.WeakSet()

    def pack(tensor: Tensor) -> Saved:
        saved = Saved(tensor)
        kept.add(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        solution = equilibrium(problem.x)
    gc.collect()
    assert solution.value.requires_grad
    return sum(saved.tensor.numel() * saved.tensor.element_size() for saved in kept)


@every_solver
def test_what_is_saved_for_backward_does_not_grow_with_the_iterations(solver: Solver) -> None:
    few, many = (
        type(solver)(tolerance=0, max_iterations=count, **({"pseudo_steps": (1,)} if solver.kind == "newton" else {}))
        for count in (3, 30)
    )
    for adjoint in (ImplicitAdjoint(), JFB()):
        assert saved_bytes(few, adjoint) == saved_bytes(many, adjoint)
    assert saved_bytes(Picard(tolerance=0, max_iterations=30), Unrolled()) > 5 * saved_bytes(few, ImplicitAdjoint())


def test_a_solution_that_is_dropped_leaves_no_tensors_behind() -> None:
    problem = case("tanh")
    equilibrium = Equilibrium(problem.layer, state_size=3)

    def alive() -> int:
        gc.collect()
        return sum(type(item) is Tensor for item in gc.get_objects())

    equilibrium(problem.x).value.sum().backward()
    before = alive()
    for _ in range(5):
        equilibrium(problem.x).value.sum().backward()
    assert alive() == before


def test_the_gradient_of_a_sample_does_not_depend_on_a_bad_one_beside_it() -> None:
    problem = case("tanh", samples=4)
    equilibrium = Equilibrium(problem.layer, state_size=3, on_failure="record", solver=Newton(tolerance=1e-13))
    parameters = list(problem.layer.parameters())
    alone = torch.autograd.grad(equilibrium(problem.x).value.square().sum(), parameters)
    for bad in (math.nan, math.inf):
        x = torch.cat((problem.x[:2], torch.full((1, 4), bad).double(), problem.x[2:])).requires_grad_()
        solution = equilibrium(x)
        beside = torch.autograd.grad(solution.value.square().sum(), [x, *parameters])
        for one, other in zip(alone, beside[1:], strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
        assert beside[0][2].tolist() == [0] * 4
        assert bool(beside[0].isfinite().all())


@pytest.mark.parametrize("adjoint", [ImplicitAdjoint(), JFB()], ids=lambda a: a.kind)
def test_a_finite_sample_where_f_is_not_finite_contributes_nothing_to_the_gradient(adjoint: object) -> None:
    class Overflowing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(0.5).double())

        def forward(self, w: Tensor, x: Tensor) -> Tensor:
            return self.weight * torch.cos(w) * torch.exp(x) / torch.exp(x).abs()

    layer = Overflowing()
    equilibrium = Equilibrium(layer, state_size=1, adjoint=adjoint, on_failure="record")
    x = torch.tensor([[0.0], [1e4], [1.0]]).double()
    with_bad = torch.autograd.grad(equilibrium(x).value.sum(), layer.weight)[0]
    without = torch.autograd.grad(equilibrium(x[[0, 2]]).value.sum(), layer.weight)[0]
    torch.testing.assert_close(with_bad, without)


def test_a_singular_sample_contributes_nothing_and_says_so() -> None:
    class Marginal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(1.0).double())

        def forward(self, w: Tensor, x: Tensor) -> Tensor:
            # At x = 0: f(0) = 0 with ∂f/∂w = 1 exactly.
            return self.weight * torch.sin(w) + x

    layer = Marginal()
    equilibrium = Equilibrium(layer, state_size=1)
    x = torch.tensor([[0.0], [1.0]]).double()
    value = equilibrium(x).value
    with pytest.warns(RuntimeWarning, match="singular at 1 of 2"):
        together = torch.autograd.grad(value.sum(), layer.weight)[0]
    alone = torch.autograd.grad(equilibrium(x[1:]).value.sum(), layer.weight)[0]
    torch.testing.assert_close(together, alone)


def test_every_adjoint_has_a_name_and_is_made_by_it() -> None:
    assert {"implicit", "jfb", "unrolled"} <= set(ADJOINTS)
    for kind, adjoint in ADJOINTS.items():
        assert make_adjoint(kind) == adjoint()
    with pytest.raises(ValueError, match="Did you mean 'implicit'"):
        make_adjoint("implict")
    with pytest.raises(ValueError, match="Unknown option of the adjoint 'jfb': 'steps'"):
        make_adjoint("jfb", steps=3)
