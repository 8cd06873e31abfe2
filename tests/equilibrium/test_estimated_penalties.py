"""Penalties estimated from probes: unbiased for the closed forms, in value and gradient."""

from __future__ import annotations

import itertools

import pytest
import torch
from gradient_maps import LIFT, circuit, model
from qiskit.circuit.library import real_amplitudes
from qiskit.primitives import StatevectorEstimator
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN
from torch import Tensor

from qdeq_qiskit.backends import NoisyBackend
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.circuits import QNNCircuit, angle_encoder, z_readout
from qdeq_qiskit.equilibrium import (
    Equilibrium,
    FullJacobianPenalty,
    HutchinsonPenalty,
    JacobianPenalty,
    MapCost,
    Newton,
    ParameterShiftPenalty,
    Picard,
    ReducedJacobianPenalty,
    make_penalty,
    nearest_lift,
)
from qdeq_qiskit.equilibrium._layer_map import LayerMap

DEPOLARIZING = {"sources": [{"kind": "depolarizing", "one_qubit": 0.001, "two_qubit": 0.01}]}
CLOSED = {"full": FullJacobianPenalty(), "reduced": ReducedJacobianPenalty()}


def penalised(name: str, penalty: JacobianPenalty) -> tuple[Tensor, list[Tensor]]:
    """The penalty of the named model and its gradient for the parameters."""
    problem = model(name)
    solution = problem.equilibrium(solver=Newton(tolerance=1e-13), penalty=penalty)(problem.x)
    return solution.penalty.detach(), list(torch.autograd.grad(solution.penalty, list(problem.plain.parameters())))


def check_mean(found: list[Tensor], expected: Tensor) -> None:
    """The mean of draws is what is expected, within four standard errors of each entry."""
    stack = torch.stack(found)
    error = stack.std(0) / len(found) ** 0.5
    assert ((stack.mean(0) - expected).abs() <= 4.5 * error + 1e-12).all()


@pytest.mark.parametrize("distribution", ["rademacher", "normal"])
@pytest.mark.parametrize(
    ("name", "space"),
    [("amplitude", "full"), ("amplitude", "reduced"), ("angle", "full"), ("tanh", "full")],
)
def test_hutchinsons_probe_has_the_closed_form_for_its_mean(name: str, space: str, distribution: str) -> None:
    torch.manual_seed(5)
    draws = [penalised(name, HutchinsonPenalty(space=space, distribution=distribution)) for _ in range(80)]
    value, gradient = penalised(name, CLOSED[space])
    check_mean([draw[0] for draw in draws], value)
    for i, expected in enumerate(gradient):
        check_mean([draw[1][i] for draw in draws], expected)


def test_more_probes_scatter_less() -> None:
    torch.manual_seed(6)
    spread = {
        probes: torch.stack([penalised("amplitude", HutchinsonPenalty(probes=probes))[0] for _ in range(40)]).std()
        for probes in (1, 16)
    }
    assert float(spread[16]) < 0.45 * float(spread[1])


@pytest.mark.parametrize(
    ("name", "penalty"),
    [
        ("angle", ParameterShiftPenalty(columns=16)),
        ("amplitude", ParameterShiftPenalty(rule="quadratic", columns=16)),
        ("amplitude", ParameterShiftPenalty(rule="quadratic", columns=4, space="reduced")),
    ],
)
def test_all_columns_together_give_the_closed_form_and_its_gradient(name: str, penalty: ParameterShiftPenalty) -> None:
    value, gradient = penalised(name, penalty)
    expected, expected_gradient = penalised(name, CLOSED[penalty.space])
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(gradient[0], expected_gradient[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("columns", [1, 3])
def test_the_mean_over_all_draws_of_columns_is_the_penalty(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = model("amplitude")
    penalty = ParameterShiftPenalty(rule="quadratic", columns=columns, space="reduced")
    draws = []
    for chosen in itertools.combinations(range(4), columns):
        order = torch.tensor([0.0 if i in chosen else 1.0 for i in range(4)]).expand(2, 4)
        monkeypatch.setattr(torch, "rand", lambda *shape, order=order, **_: order.clone())
        solution = problem.equilibrium(solver=Newton(tolerance=1e-13), penalty=penalty)(problem.x)
        draws.append(solution.penalty.detach())
    monkeypatch.undo()
    torch.testing.assert_close(torch.stack(draws).mean(), penalised("amplitude", ReducedJacobianPenalty())[0])


def test_each_sample_draws_columns_of_its_own() -> None:
    torch.manual_seed(1)
    problem = model("angle")
    seen: list[Tensor] = []

    class Watched(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = ExactLayer(circuit("angle"), precision="double", weight=problem.layer.weight)

        def forward(self, v: Tensor) -> Tensor:
            if len(v) == 2 * 3 * 2:
                seen.append(v.detach())
            return self.inner(v)

    equilibrium = Equilibrium(Watched(), lift=LIFT, penalty=ParameterShiftPenalty(columns=3))
    solution = equilibrium(problem.x)
    v = problem.x + solution.value.detach() @ LIFT.T
    moved = ((seen[0].view(2, 3, 2, 16) - v).abs() > 1e-9).transpose(1, 2)  # sign, sample, column, feature
    assert (moved.sum(3) == 1).all(), "each row moves one feature"
    assert torch.equal(moved[0], moved[1])
    columns = [set(moved[0, b].nonzero()[:, 1].tolist()) for b in range(2)]
    assert all(len(each) == 3 for each in columns), "without repetition"
    assert columns[0] != columns[1]


def test_where_v_is_zero_the_quadratic_rule_gives_zero_as_the_closed_form_does() -> None:
    problem = model("amplitude")
    x = torch.zeros(1, 16).double()
    for penalty in (ParameterShiftPenalty(rule="quadratic", columns=16), FullJacobianPenalty()):
        equilibrium = Equilibrium(problem.layer, lift=LIFT * 0, penalty=penalty)
        solution = equilibrium(x)
        assert float(solution.penalty.detach()) == 0
        assert torch.autograd.grad(solution.penalty, problem.layer.weight)[0].isfinite().all()


def test_a_stock_connector_whose_jacobian_is_detached_trains_on_the_parameter_shift_penalty() -> None:
    qnn = QNNCircuit.compose(
        angle_encoder(2, [("ry", 0), ("ry", 1), ("rz", 0), ("rx", 1)]), real_amplitudes(2, reps=1), z_readout(2)
    )
    network = EstimatorQNN(
        circuit=qnn.circuit,
        estimator=StatevectorEstimator(),
        observables=list(qnn.observables),
        input_params=list(qnn.input_parameters),
        weight_params=list(qnn.weight_parameters),
        input_gradients=True,
        default_precision=0.0,
    )
    exact = ExactLayer(qnn, precision="double")
    stock = TorchConnector(network, initial_weights=exact.weight.detach().numpy())
    lift, x = (
        nearest_lift(4, 2).double(),
        1.0 + torch.randn(2, 4, generator=torch.Generator().manual_seed(0), dtype=torch.double),
    )
    expected = Equilibrium(exact, lift=lift, solver=Newton(tolerance=1e-12), penalty=FullJacobianPenalty())(x)

    def penalty_of(penalty: JacobianPenalty) -> Tensor | None:
        return Equilibrium(stock, lift=lift, solver=Picard(tolerance=1e-2), penalty=penalty)(
            x, expected.value.detach()
        ).penalty

    with pytest.warns(RuntimeWarning, match="take the penalty 'parameter_shift'"):
        assert penalty_of(FullJacobianPenalty()) is None
    penalty = penalty_of(ParameterShiftPenalty(columns=4))
    torch.testing.assert_close(penalty.detach(), expected.penalty.detach(), rtol=1e-4, atol=1e-5)
    gradient = torch.autograd.grad(penalty, stock.weight)[0]
    wanted = torch.autograd.grad(expected.penalty, exact.weight)[0]
    torch.testing.assert_close(gradient.double(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("hutchinson", {"probes": 0}, "probes must be an integer, at least 1; it is 0"),
        ("hutchinson", {"distribution": "gaussian"}, "Unknown distribution: 'gaussian'"),
        ("hutchinson", {"space": "fill"}, "Did you mean 'full'"),
        ("parameter_shift", {"columns": 0}, "columns must be an integer, at least 1; it is 0"),
        ("parameter_shift", {"rule": "shft"}, "Did you mean 'shift'"),
        ("parameter_shift", {"space": "reduced"}, "take space='full', or rule='quadratic'"),
    ],
)
def test_a_wrong_option_is_refused(kind: str, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_penalty(kind, **options)


def test_more_columns_than_there_are_and_an_equilibrium_without_a_lift_are_refused_at_once() -> None:
    for space, count in (("full", 16), ("reduced", 4)):
        penalty = ParameterShiftPenalty(rule="quadratic", columns=17, space=space)
        with pytest.raises(ValueError, match=f"must be at most {count}, as many as there are; it is 17"):
            model("amplitude").equilibrium(penalty=penalty)
    with pytest.raises(ValueError, match="give a lift, or take 'hutchinson'"):
        model("tanh").equilibrium(penalty=ParameterShiftPenalty())


def test_the_noisy_encoders_map_gives_its_layer_near_the_samples_own_features() -> None:
    layer = NoisyBackend(noise=DEPOLARIZING, precision="double").layer(circuit("amplitude"))
    x, w = model("amplitude").x, 0.3 * torch.ones(2, 4).double()
    noisy = layer.bind(x, LIFT)
    v, q = noisy.at_features(w)
    torch.testing.assert_close(q(torch.cat((v, v))), noisy.value(w).repeat(2, 1))


@pytest.mark.parametrize("name", ["amplitude", "angle"])
def test_q_takes_whole_batches_one_after_another(name: str) -> None:
    problem = model(name)
    w = 0.3 * torch.ones(2, 4).double()
    for fixed_point_map in (
        problem.equilibrium().map(problem.x),
        LayerMap(problem.layer, problem.x, LIFT, cost=MapCost()),
    ):
        v, q = fixed_point_map.at_features(w)
        torch.testing.assert_close(v, problem.x + w @ LIFT.T)
        torch.testing.assert_close(q(torch.cat((v, 2 * v))), torch.cat((problem.layer(v), problem.layer(2 * v))))
