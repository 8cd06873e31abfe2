"""Jacobian penalties against Jacobians taken entry by entry, and their gradients against finite differences."""

import pytest
import torch
from equilibrium_maps import Readout, case, readout_operators, repeated_lift
from torch import Tensor, nn

from qdeq_qiskit.equilibrium import (
    JFB,
    PENALTIES,
    Adjoint,
    Bindable,
    Equilibrium,
    FixedPointMap,
    FullJacobianPenalty,
    FunctionMap,
    ImplicitAdjoint,
    JacobianPenalty,
    Newton,
    ReducedJacobianPenalty,
    make_penalty,
)

LIFT = repeated_lift(6, 3)


def features(samples: int = 4) -> Tensor:
    return 1.5 + torch.randn(samples, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def equilibrium_of(layer: nn.Module, penalty: JacobianPenalty | None, **options: object) -> Equilibrium:
    return Equilibrium(layer, lift=LIFT, penalty=penalty, solver=Newton(tolerance=1e-14), **options)


def squared_norms(layer: nn.Module, v: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """‖left · ∂q/∂v · right‖²_F of each sample, from autograd's whole Jacobian."""
    jacobians = [torch.autograd.functional.jacobian(lambda u: layer(u.unsqueeze(0))[0], row) for row in v]
    return torch.stack([(left @ jacobian @ right).square().sum() for jacobian in jacobians])


def test_the_reduced_penalty_is_the_mean_squared_jacobian_of_the_state() -> None:
    layer, x = Readout(readout_operators(3, 6, 1)), features()
    solution = equilibrium_of(layer, ReducedJacobianPenalty())(x)
    v = (x + solution.value @ LIFT.T).detach()
    expected = squared_norms(layer, v, torch.eye(3).double(), LIFT).mean() / 3
    torch.testing.assert_close(solution.penalty.detach(), expected)


def test_the_full_penalty_is_the_mean_squared_jacobian_of_the_lifted_state() -> None:
    layer, x = Readout(readout_operators(3, 6, 1)), features()
    solution = equilibrium_of(layer, FullJacobianPenalty())(x)
    v = (x + solution.value @ LIFT.T).detach()
    expected = squared_norms(layer, v, LIFT, torch.eye(6).double()).mean() / 6
    torch.testing.assert_close(solution.penalty.detach(), expected)


def test_the_full_penalty_is_what_hutchinsons_probe_estimates() -> None:
    layer, x = Readout(readout_operators(3, 6, 1)), features()
    solution = equilibrium_of(layer, FullJacobianPenalty())(x)
    v = (x + solution.value @ LIFT.T).detach().requires_grad_()
    generator, estimates = torch.Generator().manual_seed(4), []
    lifted = layer(v) @ LIFT.T
    for _ in range(4000):
        probe = torch.randn(lifted.shape, generator=generator, dtype=torch.float64)
        product = torch.autograd.grad(lifted, v, probe, retain_graph=True)[0]
        estimates.append(float(product.square().sum() / (len(x) * 6)))
    mean, error = torch.tensor(estimates).mean(), torch.tensor(estimates).std() / len(estimates) ** 0.5
    assert abs(float(mean - solution.penalty.detach())) < 4 * float(error)


def test_without_a_lift_the_two_penalties_are_one() -> None:
    problem = case("tanh")
    values = [
        Equilibrium(problem.layer, state_size=3, penalty=penalty)(problem.x).penalty
        for penalty in (ReducedJacobianPenalty(), FullJacobianPenalty())
    ]
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("penalty", [ReducedJacobianPenalty(), FullJacobianPenalty()], ids=lambda p: p.kind)
def test_the_gradient_of_a_penalty_is_at_the_detached_fixed_point(penalty: JacobianPenalty) -> None:
    layer, x = Readout(readout_operators(3, 6, 1)), features()
    solution = equilibrium_of(layer, penalty)(x)
    gradient = torch.autograd.grad(solution.penalty, layer.operators)[0]
    v = (x + solution.value @ LIFT.T).detach()
    left, right, size = (
        (torch.eye(3).double(), LIFT, 3) if penalty.kind == "reduced" else (LIFT, torch.eye(6).double(), 6)
    )
    entries, step = layer.operators.data.view(-1), 1e-6
    for i in range(0, len(entries), 7):
        original, sides = float(entries[i]), []
        for sign in (1, -1):
            entries[i] = original + sign * step
            sides.append(float(squared_norms(layer, v, left, right).mean() / size))
        entries[i] = original
        assert float(gradient.reshape(-1)[i]) == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6, abs=1e-8)


def test_the_penalty_and_the_adjoint_share_one_jacobian() -> None:
    layer, x = Readout(readout_operators(3, 6, 1)), features()
    calls = []

    class Counted(FixedPointMap):
        """Counts Jacobians at the fixed point; the solver's are on frozen maps."""

        def __init__(self, of_x: FunctionMap, *, frozen: bool) -> None:
            self.of_x, self.is_frozen = of_x, frozen

        inputs = property(lambda self: self.of_x.inputs)

        def with_inputs(self, inputs: tuple[Tensor, ...]) -> "Counted":
            return Counted(self.of_x.with_inputs(inputs), frozen=self.is_frozen)

        def frozen(self) -> "Counted":
            return Counted(self.of_x.frozen(), frozen=True)

        def select(self, rows: Tensor) -> "Counted":
            return Counted(self.of_x.select(rows), frozen=self.is_frozen)

        def value(self, w: Tensor) -> Tensor:
            return self.of_x.value(w)

        def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
            calls.append("frozen" if self.is_frozen else "recorded")
            return self.of_x.value_and_jacobian(w)

    class Layer(nn.Module, Bindable):
        def __init__(self) -> None:
            super().__init__()
            self.readout = layer

        def bind(self, x: Tensor, lift: Tensor) -> FixedPointMap:
            function = lambda w, x, operators: torch.func.functional_call(  # noqa: E731
                self.readout, {"operators": operators}, (x + w @ lift.T,)
            )
            return Counted(FunctionMap(function, (x, self.readout.operators), batched=1), frozen=False)

    solution = equilibrium_of(Layer(), ReducedJacobianPenalty())(x)
    (solution.value.sum() + solution.penalty).backward()
    assert calls.count("recorded") == 1
    assert calls.count("frozen") == int(solution.evaluations.max()) - 1  # the first step needs none
    assert (solution.jacobian_evaluations == solution.evaluations).all()


@pytest.mark.parametrize("adjoint", [ImplicitAdjoint(), JFB()], ids=lambda adjoint: adjoint.kind)
def test_a_penalty_leaves_the_gradient_of_the_fixed_point_as_it_is(adjoint: Adjoint) -> None:
    gradients = []
    for penalty in (None, ReducedJacobianPenalty()):
        layer, x = Readout(readout_operators(3, 6, 1)), features().requires_grad_()
        solution = equilibrium_of(layer, penalty, adjoint=adjoint)(x)
        (solution.value * torch.arange(1.0, 4.0, dtype=torch.float64)).sum().backward()
        gradients.append((x.grad, layer.operators.grad))
    torch.testing.assert_close(gradients[1], gradients[0])


def test_no_penalty_is_computed_without_gradients_or_in_direct_mode() -> None:
    layer, x = Readout(readout_operators(3, 6, 1)), features()
    equilibrium = equilibrium_of(layer, ReducedJacobianPenalty())
    with torch.no_grad():
        assert equilibrium(x).penalty is None
    assert equilibrium_of(layer, ReducedJacobianPenalty(), mode="direct")(x).penalty is None
    assert equilibrium_of(layer, ReducedJacobianPenalty())(x).penalty.requires_grad


def test_a_sample_that_is_not_finite_does_not_spoil_the_penalty() -> None:
    layer, x = Readout(readout_operators(3, 6, 1)), features()
    equilibrium = equilibrium_of(layer, ReducedJacobianPenalty(), on_failure="record")
    alone = equilibrium(x).penalty
    beside = equilibrium(torch.cat((x, torch.full((1, 6), torch.nan).double()))).penalty
    torch.testing.assert_close(beside, alone)


def test_a_penalty_through_a_layer_that_cannot_be_differentiated_twice_is_not_silent() -> None:
    class Once(torch.autograd.Function):
        """tanh whose gradient is detached, as that of a connector which computes it elsewhere."""

        @staticmethod
        def forward(ctx, v: Tensor, weight: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
            ctx.save_for_backward(v, weight)
            return torch.tanh(v @ weight.T)

        @staticmethod
        def backward(ctx, cotangent: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
            v, weight = (tensor.detach() for tensor in ctx.saved_tensors)
            inner = cotangent.detach() * (1 - torch.tanh(v @ weight.T) ** 2)
            return inner @ weight, inner.T @ v

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(0.2 * torch.ones(3, 6).double())

        def forward(self, v: Tensor) -> Tensor:
            return Once.apply(v, self.weight)

    with pytest.warns(RuntimeWarning, match="penalty has no gradient"):
        equilibrium_of(Layer(), ReducedJacobianPenalty())(features())


def test_every_penalty_has_a_name_and_is_made_by_it() -> None:
    assert {"reduced", "full"} <= set(PENALTIES)
    for kind, penalty in PENALTIES.items():
        assert make_penalty(kind) == penalty()
    with pytest.raises(ValueError, match="Did you mean 'reduced'"):
        make_penalty("reduce")
