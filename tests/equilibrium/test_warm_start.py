"""Starting from the fixed points of an earlier pass, found by the samples' numbers."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from gradient_maps import model
from torch import Tensor

from qdeq_qiskit.equilibrium import Anderson, Equilibrium, KrasnoselskiiMann, Newton, WarmStart


def features(samples: int) -> Tensor:
    return torch.randn(samples, 16, generator=torch.Generator().manual_seed(0), dtype=torch.double)


def warm(samples: int = 10, **options: object) -> Equilibrium:
    options = {"solver": Anderson(tolerance=1e-9), **options}
    return model("amplitude").equilibrium(warm_start=WarmStart(samples, 4, dtype=torch.double), **options)


@torch.no_grad()
def test_a_second_pass_over_the_same_samples_takes_one_evaluation_each_in_whatever_order() -> None:
    x, equilibrium, order = features(10), warm(), torch.randperm(10, generator=torch.Generator().manual_seed(2))
    first = equilibrium(x, index=torch.arange(10))
    second = equilibrium(x[order], index=order)
    assert (first.evaluations > 4).all()
    assert second.evaluations.tolist() == [1] * 10
    assert torch.equal(second.value, first.value[order])


@torch.no_grad()
def test_after_a_small_step_of_the_weights_fewer_evaluations_lead_to_the_same_fixed_points() -> None:
    x, equilibrium, layer = features(10), warm(), model("amplitude").layer
    before = layer.weight.detach().clone()
    try:
        equilibrium(x, index=torch.arange(10))
        layer.weight.add_(1e-3)
        cold = model("amplitude").equilibrium(solver=Anderson(tolerance=1e-9))(x)
        again = equilibrium(x, index=torch.arange(10))
    finally:
        layer.weight.copy_(before)
    assert (again.evaluations < cold.evaluations).all()
    torch.testing.assert_close(again.value, cold.value, rtol=0, atol=1e-7)


@torch.no_grad()
def test_samples_that_are_not_known_start_at_w0() -> None:
    # Damped steps do not magnify rounding, which depends on how many samples are evaluated together; Anderson's do.
    solver = KrasnoselskiiMann(tolerance=1e-9, max_iterations=200)
    x, equilibrium = features(6), warm(solver=solver)
    equilibrium(x[:3], index=torch.tensor([4, 5, 6]))
    assert equilibrium.warm_start.known.nonzero().flatten().tolist() == [4, 5, 6]
    mixed = equilibrium(x, index=torch.arange(4, 10))
    cold = model("amplitude").equilibrium(solver=solver)(x)
    assert mixed.evaluations.tolist()[:3] == [1, 1, 1]
    assert mixed.evaluations[3:].tolist() == cold.evaluations[3:].tolist()
    torch.testing.assert_close(mixed.value[3:], cold.value[3:], rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_sample_that_does_not_converge_is_forgotten() -> None:
    x, equilibrium = features(4), warm(on_failure="record")
    equilibrium(x, index=torch.arange(4))
    bad = x.clone()
    bad[2, 3] = math.nan
    equilibrium(bad, index=torch.arange(4))
    assert equilibrium.warm_start.known.tolist() == [True, True, False, True, *[False] * 6]
    assert equilibrium.warm_start.states.isfinite().all()


@torch.no_grad()
def test_without_a_warm_start_a_solution_depends_on_nothing_that_ran_before() -> None:
    x = features(10)
    equilibrium = model("amplitude").equilibrium(solver=Newton())
    first = equilibrium(x)
    equilibrium(5 * x.flip(0))
    second = equilibrium(x)
    assert torch.equal(first.value, second.value)
    assert torch.equal(first.evaluations, second.evaluations)
    assert not equilibrium.warm_start
    assert set(equilibrium.state_dict()) == {"_extra_state", "layer.weight"}


@torch.no_grad()
def test_a_state_dict_carries_the_fixed_points_to_a_run_that_is_resumed() -> None:
    x, equilibrium = features(10), warm()
    equilibrium(x, index=torch.arange(10))
    resumed = warm()
    resumed.load_state_dict(equilibrium.state_dict())
    assert torch.equal(resumed(x, index=torch.arange(10)).value, equilibrium(x, index=torch.arange(10)).value)
    resumed.warm_start.forget()
    assert (resumed(x, index=torch.arange(10)).evaluations > 4).all()


def test_gradients_are_those_of_the_fixed_points_wherever_the_solve_began() -> None:
    x, gradients = features(6), []
    parameters = [model("amplitude").layer.weight]
    equilibrium = warm(solver=Newton(tolerance=1e-12))
    for _ in range(2):
        value = equilibrium(x, index=torch.arange(6)).value
        gradients.append(torch.autograd.grad(value.square().sum(), parameters)[0])
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-10)


@torch.no_grad()
def test_in_evaluation_mode_samples_without_numbers_start_cold_and_leave_no_trace() -> None:
    x, others, equilibrium = features(10), 2 * features(14)[10:], warm()
    equilibrium(x, index=torch.arange(10))
    before = {name: tensor.clone() for name, tensor in equilibrium.warm_start.state_dict().items()}
    solution = equilibrium.eval()(others)
    cold = model("amplitude").equilibrium(solver=Anderson(tolerance=1e-9))(others)
    assert torch.equal(solution.value, cold.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in equilibrium.warm_start.state_dict().items())
    assert equilibrium(x, index=torch.arange(10)).evaluations.tolist() == [1] * 10


def trained(epochs: int, state: dict[str, Any] | None = None, *, is_warm: bool = True) -> tuple[dict[str, Any], float]:
    """What a loop of one's own ends in, from the start or from such a state, and its evaluations a sample and epoch."""
    x, target = features(30), torch.linspace(-0.4, 0.4, 4).double()
    equilibrium = model("amplitude").equilibrium(solver=Anderson(tolerance=1e-6))
    equilibrium.layer = copy.deepcopy(equilibrium.layer)
    if is_warm:
        equilibrium.warm_start = WarmStart(30, 4, dtype=torch.double)
    optimiser, first = torch.optim.Adam(equilibrium.parameters(), lr=0.01), 0
    if state is not None:
        equilibrium.load_state_dict(state["equilibrium"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["epoch"]
    evaluations = 0
    for epoch in range(first, epochs):
        order = torch.randperm(30, generator=torch.Generator().manual_seed(epoch))
        for index in order.split(8):
            solution = equilibrium(x[index], index=index if is_warm else None)
            optimiser.zero_grad()
            (solution.value - target).square().sum(1).mean().backward()
            optimiser.step()
            evaluations += int(solution.evaluations.sum())
    end = {"equilibrium": equilibrium.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epochs}
    return copy.deepcopy(end), evaluations / 30 / (epochs - first)


def test_a_loop_of_ones_own_that_goes_on_from_its_state_ends_in_the_same_numbers_bit_for_bit() -> None:
    whole, _ = trained(6)
    resumed, _ = trained(6, trained(3)[0])
    for name, tensor in whole["equilibrium"].items():
        assert torch.equal(tensor, resumed["equilibrium"][name]), name


def test_in_training_warm_starts_spare_evaluations_and_end_near_the_same_weights() -> None:
    warm_end, warm_evaluations = trained(6)
    cold_end, cold_evaluations = trained(6, is_warm=False)
    assert warm_evaluations < 0.9 * cold_evaluations
    weights = [end["equilibrium"]["layer.weight"] for end in (warm_end, cold_end)]
    torch.testing.assert_close(*weights, rtol=0, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "give their numbers as index"),
        (torch.arange(3), "must hold 4 sample numbers of type int64; it is torch.int64 of shape"),
        (torch.arange(4).float(), "it is torch.float32"),
        (torch.tensor([0, 1, 2, 10]), "index must be in 0 … 9, the samples of the warm start; it is in 0 … 10"),
        (torch.tensor([-1, 1, 2, 3]), "it is in -1 … 3"),
    ],
)
def test_an_index_that_does_not_fit_is_refused(index: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        warm()(features(4), index=index)


@torch.no_grad()
def test_an_index_without_a_warm_start_and_one_of_another_state_are_refused() -> None:
    with pytest.raises(ValueError, match="index is for an equilibrium with a warm start"):
        model("amplitude").equilibrium()(features(2), index=torch.arange(2))
    other = model("amplitude").equilibrium(warm_start=WarmStart(4, 3))
    with pytest.raises(ValueError, match="the warm start is of 3 state entries, the equilibrium of 4"):
        other(features(2), index=torch.arange(2))
