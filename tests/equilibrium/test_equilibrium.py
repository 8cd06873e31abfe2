"""The torch module: modes, warm-up, failures, costs, and the layers it takes."""

import copy
import math
import warnings

import pytest
import torch
from equilibrium_maps import Readout, case, readout_operators, repeated_lift
from torch import Tensor, nn

from qdeq_qiskit.equilibrium import (
    JFB,
    Anderson,
    Bindable,
    Equilibrium,
    FixedPointMap,
    FunctionMap,
    ImplicitAdjoint,
    KrasnoselskiiMann,
    MapCost,
    Newton,
    NotConvergedError,
    NotConvergedWarning,
    Picard,
    Reason,
    ReducedJacobianPenalty,
    nearest_lift,
)

LIFT = repeated_lift(6, 3)


def features(samples: int = 4) -> Tensor:
    return 1.5 + torch.randn(samples, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def readout() -> Readout:
    return Readout(readout_operators(3, 6, 1))


def test_the_state_is_the_lifted_fixed_point_of_the_layer() -> None:
    layer, x = readout(), features()
    solution = Equilibrium(layer, lift=LIFT, solver=Newton(tolerance=1e-13))(x)
    torch.testing.assert_close(layer(x + solution.value @ LIFT.T), solution.value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(solution.state, solution.value @ LIFT.T)
    assert (solution.mode, solution.solver, solution.adjoint) == ("implicit", "newton", "implicit")


def test_without_a_lift_the_layer_is_a_function_of_state_and_features() -> None:
    problem = case("tanh")
    solution = Equilibrium(problem.layer, state_size=3)(problem.x)
    assert solution.state is solution.value
    assert bool(solution.converged.all())


def test_features_of_any_shape_are_taken_without_a_lift() -> None:
    images = torch.randn(5, 2, 3, 3)
    layer = Equilibrium(lambda w, x: torch.tanh(0.5 * w + x.mean((1, 2, 3)).unsqueeze(1)), state_size=2)
    assert layer(images).value.shape == (5, 2)


def test_a_bindable_layer_is_bound_to_the_batch_with_the_lift() -> None:
    class Bound(nn.Module, Bindable):
        def __init__(self) -> None:
            super().__init__()
            self.readout = readout()

        def bind(self, x: Tensor, lift: Tensor) -> FixedPointMap:
            operators = self.readout.operators
            return FunctionMap(
                lambda w, x, operators: torch.func.functional_call(
                    self.readout, {"operators": operators}, (x + w @ lift.T,)
                ),
                (x, operators),
                batched=1,
                cost=MapCost(circuits_per_value=1, circuits_per_jacobian=6, shots_per_circuit=100),
            )

    plain, bound = readout(), Bound()
    x = features()
    expected = Equilibrium(plain, lift=LIFT, solver=Newton(tolerance=1e-13))(x)
    solution = Equilibrium(bound, lift=LIFT, solver=Newton(tolerance=1e-13))(x)
    torch.testing.assert_close(solution.value, expected.value)
    solution.value.sum().backward()
    expected.value.sum().backward()
    torch.testing.assert_close(bound.readout.operators.grad, plain.operators.grad)
    # The first step needs no Jacobian; Newton's last one is at the fixed point, so the adjoint costs no further one.
    assert (solution.jacobian_evaluations == solution.evaluations - 1).all()
    assert solution.circuits == 7 * int(solution.evaluations.sum()) - 6 * len(x)
    assert solution.shots == 100 * solution.circuits


@pytest.mark.parametrize("adjoint", [ImplicitAdjoint(), JFB()], ids=lambda a: a.kind)
def test_circuits_are_counted_by_the_formula(adjoint: object) -> None:
    cost = MapCost(circuits_per_value=3, circuits_per_jacobian=8, shots_per_circuit=1024)
    equilibrium = Equilibrium(
        readout(), lift=LIFT, cost=cost, adjoint=adjoint, solver=KrasnoselskiiMann(max_iterations=500)
    )
    solution = equilibrium(features())
    # E evaluations of 3 circuits, and for the implicit adjoint one Jacobian of 8.
    jacobians = 4 if adjoint.kind == "implicit" else 0
    assert int(solution.jacobian_evaluations.sum()) == jacobians
    assert solution.circuits == 3 * int(solution.evaluations.sum()) + 8 * jacobians
    assert solution.shots == 1024 * solution.circuits
    with torch.no_grad():
        assert equilibrium(features()).circuits == 3 * int(solution.evaluations.sum())


def test_the_direct_mode_applies_the_layer_so_many_times() -> None:
    layer, x = readout(), features().requires_grad_()
    solution = Equilibrium(layer, lift=LIFT, mode="direct", layers=3)(x)
    w = torch.zeros(4, 3).double()
    for _ in range(3):
        w = layer(x + w @ LIFT.T)
    torch.testing.assert_close(solution.value, w)
    got = torch.autograd.grad(solution.state.square().sum(), [x, layer.operators])
    expected = torch.autograd.grad((w @ LIFT.T).square().sum(), [x, layer.operators])
    torch.testing.assert_close(got, expected)
    assert (solution.mode, solution.solver, solution.adjoint) == ("direct", "none", "autograd")
    assert solution.reason_counts() == {Reason.NOT_SOUGHT: 4}
    assert solution.evaluations.tolist() == [3] * 4
    assert bool(solution.residual.isnan().all())


def test_warm_up_counts_training_passes_and_evaluation_is_always_implicit() -> None:
    equilibrium = Equilibrium(readout(), lift=LIFT, warmup_steps=2, warmup_layers=4)
    x = features()
    modes = []
    for step in range(4):
        equilibrium.eval()
        assert equilibrium(x).mode == "implicit"
        equilibrium.train()
        with torch.no_grad():
            assert equilibrium(x).mode == "implicit"
        assert equilibrium.warmup_count == min(step, 2)
        solution = equilibrium(x)
        modes.append((solution.mode, int(solution.iterations[0])))
    assert modes[:2] == [("direct", 4)] * 2
    assert [mode for mode, _ in modes[2:]] == ["implicit"] * 2


def test_the_warm_up_count_travels_in_the_state_dict() -> None:
    first = Equilibrium(readout(), lift=LIFT, warmup_steps=3)
    first(features())
    state = first.state_dict()
    assert all(isinstance(value, Tensor) for value in state.values())
    second = Equilibrium(readout(), lift=LIFT, warmup_steps=3)
    second.load_state_dict(state)
    assert second.warmup_count == 1
    assert copy.deepcopy(first).warmup_count == 1


def test_the_starting_point_can_be_given() -> None:
    layer, x = readout(), features()
    equilibrium = Equilibrium(layer, lift=LIFT, solver=Newton(tolerance=1e-10))
    solution = equilibrium(x)
    again = equilibrium(x, solution.value)
    assert again.iterations.tolist() == [0] * 4
    torch.testing.assert_close(again.value, solution.value)


def test_samples_that_do_not_converge_are_warned_of_with_their_number_and_a_remedy() -> None:
    problem = case("rotation", samples=5)
    equilibrium = Equilibrium(problem.layer, state_size=2, solver=Picard(max_iterations=10))
    with pytest.warns(NotConvergedWarning, match=r"5 of 5 samples did not converge .*Raise max_iterations"):
        equilibrium(problem.x)


def test_non_convergence_can_be_an_error_that_carries_the_solution() -> None:
    problem = case("rotation", samples=5)
    equilibrium = Equilibrium(problem.layer, state_size=2, solver=Picard(max_iterations=10), on_failure="raise")
    with pytest.raises(NotConvergedError, match="5 of 5") as caught:
        equilibrium(problem.x)
    assert caught.value.solution.reason_counts() == {Reason.MAX_ITERATIONS: 5}


def test_non_convergence_can_be_recorded_only() -> None:
    problem = case("rotation", samples=5)
    equilibrium = Equilibrium(problem.layer, state_size=2, solver=Picard(max_iterations=10), on_failure="record")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solution = equilibrium(problem.x)
    assert not bool(solution.converged.any())


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("mode", ["implicit", "direct"])
def test_a_sample_with_features_that_are_not_finite_is_named_and_the_others_are_untouched(
    mode: str, bad: float
) -> None:
    layer, x = readout(), features()
    x_bad = x.clone()
    x_bad[1, 2] = bad
    equilibrium = Equilibrium(layer, lift=LIFT, mode=mode, layers=2, on_failure="record", trace=True)
    solution, clean = equilibrium(x_bad), equilibrium(x)
    good = [0, 2, 3]
    assert solution.reason[1] == Reason.NOT_FINITE
    assert not bool(solution.converged[1])
    assert solution.value[1].tolist() == [0, 0, 0]
    assert solution.evaluations[1] == 0
    torch.testing.assert_close(solution.value[good], clean.value[good], rtol=0, atol=1e-12)
    torch.testing.assert_close(solution.state[good], clean.state[good], rtol=0, atol=1e-12)
    assert solution.evaluations[good].tolist() == clean.evaluations[good].tolist()
    assert solution.reason[good].tolist() == clean.reason[good].tolist()
    if mode == "implicit":
        torch.testing.assert_close(solution.jacobian[good], clean.jacobian[good], rtol=0, atol=1e-12)
        assert all(len(values) == 4 for values in solution.trace)


def test_a_batch_of_nothing_but_nan_has_a_defined_result() -> None:
    solution = Equilibrium(readout(), lift=LIFT, on_failure="record")(torch.full((2, 6), torch.nan).double())
    assert solution.reason_counts() == {Reason.NOT_FINITE: 2}
    assert solution.value.tolist() == [[0, 0, 0]] * 2


def test_an_empty_batch_is_solved() -> None:
    layer = readout()
    solution = Equilibrium(layer, lift=LIFT, penalty=ReducedJacobianPenalty())(features(4)[:0])
    assert solution.state.shape == (0, 6)
    assert solution.penalty.item() == 0
    assert str(solution)
    (solution.state.sum() + solution.penalty).backward()
    assert float(layer.operators.grad.abs().sum()) == 0


def test_finite_features_whose_sum_overflows_are_solved() -> None:
    layer = Equilibrium(lambda w, x: torch.tanh(0.5 * w + x / 1e38), state_size=2)
    x = torch.tensor([[3e38, 3e38], [3e38, 1e38]])
    assert bool(layer(x).converged.all())


def test_no_gradient_is_prepared_where_none_is_wanted() -> None:
    problem = case("tanh")
    equilibrium = Equilibrium(problem.layer.requires_grad_(False), state_size=3)
    solution = equilibrium(problem.x)
    assert solution.adjoint == "none"
    assert not solution.value.requires_grad


def test_a_function_that_hides_trainable_tensors_is_refused() -> None:
    weight = torch.tensor(0.5, requires_grad=True)
    equilibrium = Equilibrium(lambda w, x: weight * torch.tanh(w) + x, state_size=2)
    with pytest.raises(ValueError, match="Make it a torch"):
        equilibrium(torch.zeros(3, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_keeps_the_precision_of_the_features(dtype: torch.dtype) -> None:
    layer = nn.Sequential(nn.Linear(8, 2), nn.Tanh())
    equilibrium = Equilibrium(layer, lift=nearest_lift(8, 2)).to(dtype)
    x = torch.randn(5, 8, dtype=dtype, requires_grad=True)
    solution = equilibrium(x)
    solution.state.sum().backward()
    for tensor in (solution.value, solution.state, solution.residual, solution.jacobian, x.grad):
        assert tensor.dtype == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_value_and_gradient_are_those_of_the_cpu() -> None:
    layer = nn.Sequential(nn.Linear(8, 2), nn.Tanh()).double()
    here = Equilibrium(layer, lift=nearest_lift(8, 2), solver=Newton(tolerance=1e-12)).double()
    there = copy.deepcopy(here).cuda()
    x = torch.randn(64, 8).double()
    one, other = here(x), there(x.cuda())
    torch.testing.assert_close(other.value.cpu(), one.value)
    one.value.square().sum().backward()
    other.value.square().sum().backward()
    torch.testing.assert_close(there.layer[0].weight.grad.cpu(), here.layer[0].weight.grad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "implict"}, "Unknown mode: 'implict'. Did you mean 'implicit'"),
        ({"mode": "unrolled"}, "Unknown mode"),
        ({"on_failure": "warm"}, "Did you mean 'warn'"),
        ({"layers": 0}, "layers must be an integer, at least 1; it is 0"),
        ({"warmup_steps": -1}, "warmup_steps must be an integer, at least 0; it is -1"),
        ({"warmup_layers": 0}, "warmup_layers"),
        ({"solver": "newton"}, "solver must be of type Solver, as make_solver"),
        ({"adjoint": "implicit"}, "adjoint must be of type Adjoint"),
        ({"penalty": 0.8}, "penalty must be of type JacobianPenalty"),
        ({"lift": None}, "state_size"),
        ({"state_size": 4}, "the lift R has 3 columns"),
        ({"lift": torch.ones(6)}, "lift must be a matrix"),
    ],
)
def test_a_wrong_option_is_refused_at_once(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Equilibrium(readout(), **{"lift": LIFT, **options})


@pytest.mark.parametrize(
    ("x", "w0", "message"),
    [
        (torch.zeros(2, 5).double(), None, r"x must be of shape \(B, 6\)"),
        (torch.zeros(6).double(), None, r"x must be of shape \(B, 6\)"),
        (torch.zeros(2, 6), None, "float32, but the lift is"),
        (torch.zeros(2, 6, dtype=torch.int64), None, "floating-point"),
        (torch.zeros(2, 6).double(), torch.zeros(2, 4).double(), r"w0 must be of shape \(2, 3\)"),
    ],
)
def test_a_batch_of_the_wrong_shape_or_type_is_refused(x: Tensor, w0: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Equilibrium(readout(), lift=LIFT)(x, w0)


def test_a_stock_torch_connector_around_a_stock_estimator_qnn_is_trained() -> None:
    from qiskit.circuit import ParameterVector, QuantumCircuit
    from qiskit.circuit.library import real_amplitudes
    from qiskit.primitives import StatevectorEstimator
    from qiskit.quantum_info import SparsePauliOp
    from qiskit_machine_learning.connectors import TorchConnector
    from qiskit_machine_learning.neural_networks import EstimatorQNN

    encoder = QuantumCircuit(2)
    inputs = ParameterVector("x", 4)
    for wire in range(2):
        encoder.ry(inputs[wire], wire)
        encoder.rx(inputs[2 + wire], wire)
    ansatz = real_amplitudes(2, reps=1)
    qnn = EstimatorQNN(
        circuit=encoder.compose(ansatz),
        observables=[SparsePauliOp("IZ"), SparsePauliOp("ZI")],
        input_params=list(inputs),
        weight_params=list(ansatz.parameters),
        estimator=StatevectorEstimator(),
        input_gradients=True,
        default_precision=0.0,
    )
    weights = [0.3, -0.4, 0.5, 0.2]
    connector = TorchConnector(qnn, initial_weights=weights)
    equilibrium = Equilibrium(connector, lift=nearest_lift(4, 2), solver=Newton(tolerance=1e-5))
    x = torch.tensor([[0.1, 0.2, 0.3, -0.4], [0.5, -0.2, 0.1, 0.9]])
    solution = equilibrium(x)
    assert bool(solution.converged.all())
    torch.testing.assert_close(connector(x + solution.state.detach()), solution.value, rtol=1e-4, atol=1e-5)
    solution.value.sum().backward()

    # The same circuit as a function of numpy alone: its equilibrium's gradient by finite differences.
    def loss(weights: list[float]) -> float:
        w = torch.zeros(2, 2).double()
        for _ in range(60):
            v = x.double() + w.repeat_interleave(2, dim=1)
            w = 0.5 * w + 0.5 * torch.from_numpy(qnn.forward(v.numpy(), weights))
        return float(w.sum())

    for i in range(4):
        above, below = list(weights), list(weights)
        above[i] += 1e-3
        below[i] -= 1e-3
        assert float(connector.weight.grad[i]) == pytest.approx((loss(above) - loss(below)) / 2e-3, abs=2e-4)


@pytest.mark.parametrize("outputs", [1, 2, 5])
@pytest.mark.parametrize(
    "options", [{}, {"solver": Anderson()}, {"mode": "direct"}], ids=["newton", "anderson", "direct"]
)
def test_a_layer_with_another_number_of_outputs_than_the_state_has_is_refused(outputs: int, options: dict) -> None:
    equilibrium = Equilibrium(nn.Linear(8, outputs), lift=nearest_lift(8, 4), **options)
    with pytest.raises(ValueError, match=rf"\(3, {outputs}\).*\(3, 4\)"):
        equilibrium(torch.randn(3, 8))


def test_inference_mode_finds_the_same_fixed_points_as_no_grad() -> None:
    layer = nn.Sequential(nn.Linear(8, 4), nn.Tanh())
    equilibrium = Equilibrium(layer, lift=nearest_lift(8, 4))
    x = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = equilibrium(x)
    with torch.inference_mode():
        solution = equilibrium(x.clone())
    assert solution.iterations.tolist() == expected.iterations.tolist()
    torch.testing.assert_close(solution.value, expected.value)
    equilibrium(x).value.sum().backward()


def test_coherent_mode_evaluates_its_layer_once() -> None:
    problem = case("quantum")
    calls = []

    def layer(w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        calls.append(w)
        return problem.layer.readout(x)

    with torch.no_grad():
        solution = Equilibrium(layer, state_size=3, mode="coherent")(problem.x)
    assert len(calls) == 1
    assert not calls[0].any()
    assert (solution.mode, solution.solver) == ("coherent", "none")
    assert solution.evaluations.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match="applies its layer once, but layers=2"):
        Equilibrium(layer, state_size=3, mode="coherent", layers=2)


def test_a_network_without_its_connector_is_refused_where_the_equilibrium_is_made() -> None:
    class Network:
        def forward(self) -> None: ...

    with pytest.raises(ValueError, match=r"layer must be a torch module .* it is of type Network\. .* QNNConnector"):
        Equilibrium(Network(), lift=LIFT)  # type: ignore[arg-type]


def test_features_that_are_no_tensor_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x must be a torch tensor, .* it is of type ndarray"):
        Equilibrium(readout(), lift=LIFT)(features().numpy())
