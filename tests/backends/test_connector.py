"""QNNConnector against the stock TorchConnector, and what it does that the stock one does not."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import Pauli, SparsePauliOp
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN, SamplerQNN

import qdeq_qiskit.backends.connector as connector_module
from qdeq_qiskit.backends.amplitude import AmplitudeAngles
from qdeq_qiskit.backends.connector import QNNConnector, connector_map
from qdeq_qiskit.backends.estimator import HeisenbergEstimator, HeisenbergGradient
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps.product import _trace_matrix
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, angle_encoder, qdeq_ansatz, ryzxy_gates, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, ImplicitAdjoint, Newton, ReducedJacobianPenalty, Unrolled, nearest_lift


def small_model() -> QNNCircuit:
    x, theta = ParameterVector("x", 4), ParameterVector("t", 4)
    circuit = QuantumCircuit(2)
    for index in range(4):
        (circuit.ry if index < 2 else circuit.rz)(x[index], index % 2)
    circuit.rx(theta[0], 0)
    circuit.crx(theta[1], 0, 1)
    circuit.ry(theta[2], 1)
    circuit.rz(theta[3], 0)
    circuit.ry(0.4, 0)
    return QNNCircuit(circuit, x, theta, [SparsePauliOp("IZ"), SparsePauliOp("ZI")])


def small_model_ansatz() -> QuantumCircuit:
    theta = ParameterVector("t", 3)
    circuit = QuantumCircuit(2)
    circuit.ry(theta[0], 0)
    circuit.crx(theta[1], 0, 1)
    circuit.rx(theta[2], 1)
    return circuit


def reuploading_model() -> QNNCircuit:
    x, theta = ParameterVector("x", 2), ParameterVector("t", 3)
    circuit = QuantumCircuit(2)
    circuit.ry(x[0], 0)
    circuit.cry(theta[0], 0, 1)
    circuit.rx(x[1], 1)
    circuit.rx(theta[1], 0)
    circuit.cx(0, 1)
    circuit.ry(theta[2], 1)
    return QNNCircuit(circuit, x, theta, [SparsePauliOp("XZ"), SparsePauliOp("ZI")])


def tree_model() -> QNNCircuit:
    return QNNCircuit.compose(amplitude_encoder(2), small_model_ansatz(), z_readout(2), num_amplitudes=4)


def exact_network(model: QNNCircuit, **options: object) -> EstimatorQNN:
    estimator = HeisenbergEstimator()
    return network_of(model, estimator, HeisenbergGradient(estimator), **options)


def stock_network(model: QNNCircuit, **options: object) -> EstimatorQNN:
    estimator = StatevectorEstimator()
    return network_of(model, estimator, ParamShiftEstimatorGradient(estimator), **options)


def network_of(
    model: QNNCircuit, estimator: object, gradient: object, *, input_gradients: bool = True, precision: float = 0.0
) -> EstimatorQNN:
    return EstimatorQNN(
        circuit=model.circuit,
        input_params=model.input_parameters,
        weight_params=model.weight_parameters,
        observables=list(model.observables),
        estimator=estimator,
        gradient=gradient,
        input_gradients=input_gradients,
        default_precision=precision,
    )


def drawn(model: QNNCircuit, batch: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, np.ndarray]:
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(batch, model.num_inputs, generator=generator, dtype=torch.float64).to(dtype)
    return v, (6 * torch.rand(model.num_weights, generator=generator) - 3).numpy()


def gradients(connector: torch.nn.Module, v: torch.Tensor) -> tuple[torch.Tensor, ...]:
    leaf = v.clone().requires_grad_()
    out = connector(leaf)
    loss = (out * torch.linspace(-1, 2, out.shape[-1]).to(out)).sum()
    return (out.detach(), *torch.autograd.grad(loss, [leaf, connector.weight]))


@pytest.mark.parametrize("make", [small_model, reuploading_model, tree_model])
@pytest.mark.parametrize("network", [exact_network, stock_network])
def test_it_gives_what_the_stock_connector_gives(
    make: Callable[[], QNNCircuit], network: Callable[[QNNCircuit], EstimatorQNN]
) -> None:
    model = make()
    v, weight = drawn(model, 2, torch.float32)
    connector = QNNConnector(network(model), weight)
    assert connector.native == (network is exact_network)
    expected = gradients(TorchConnector(stock_network(model), weight), v)
    for found, right in zip(gradients(connector, v), expected, strict=True):
        assert found.shape == right.shape
        assert found.dtype == torch.float32
        assert torch.allclose(found, right, rtol=0, atol=2e-6)


def test_state_dict_weight_and_repr_are_the_stock_connectors() -> None:
    model = small_model()
    ours, stock = (kind(exact_network(model)) for kind in (QNNConnector, TorchConnector))
    assert isinstance(ours, TorchConnector)
    ours(torch.zeros(1, 4))
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in stock.named_parameters()]
    ours.load_state_dict(stock.state_dict())
    assert torch.equal(ours.weight, stock.weight)


def test_the_dtype_of_the_input_is_respected_and_double_precision_is_really_double() -> None:
    model = small_model()
    v, weight = drawn(model, 3)
    connector = QNNConnector(exact_network(model), weight)
    assert connector(v.float()).dtype == torch.float32
    out = connector(v)
    assert out.dtype == torch.float64
    exact = connector.neural_network.forward(v.numpy(), connector.weight.detach().numpy())
    assert np.abs(out.detach().numpy() - exact).max() < 1e-13
    assert connector(v.half()).dtype == torch.float16
    other = QNNConnector(stock_network(model), weight)
    assert other(v).dtype == torch.float64


@pytest.mark.parametrize("network", [exact_network, stock_network])
def test_any_leading_axes_work_with_input_gradients(network: Callable[[QNNCircuit], EstimatorQNN]) -> None:
    model = small_model()
    v, weight = drawn(model, 6)
    connector = QNNConnector(network(model), weight)
    flat = gradients(connector, v)
    cube = gradients(connector, v.reshape(2, 3, 4))
    assert cube[0].shape == (2, 3, 2)
    assert torch.allclose(cube[0].flatten(0, 1), flat[0], rtol=0, atol=1e-12)
    assert torch.allclose(cube[1].flatten(0, 1), flat[1], rtol=0, atol=1e-12)
    assert connector(v[0]).shape == (2,)
    assert torch.allclose(connector(v[0]), flat[0][0], rtol=0, atol=1e-12)


def test_natively_it_is_differentiable_twice() -> None:
    model = small_model()
    v, weight = drawn(model, 2)
    connector = QNNConnector(exact_network(model), weight).double()
    v.requires_grad_()
    assert torch.autograd.gradgradcheck(connector, (v,))


def test_a_second_derivative_through_another_estimator_is_an_error_not_a_zero() -> None:
    model = small_model()
    v, weight = drawn(model, 2)
    connector = QNNConnector(stock_network(model), weight)
    v.requires_grad_()
    (first,) = torch.autograd.grad(connector(v).sum(), v, create_graph=True)
    with pytest.raises(RuntimeError, match="second derivative"):
        first.sum().backward()


def test_a_missing_input_gradient_is_an_error_not_a_none() -> None:
    model = small_model()
    v, weight = drawn(model, 2)
    connector = QNNConnector(stock_network(model, input_gradients=False), weight)
    torch.autograd.grad(connector(v).sum(), connector.weight)
    with pytest.raises(RuntimeError, match="input_gradients=True"):
        connector(v.requires_grad_()).sum().backward()


class Counting(EstimatorQNN):
    """Counts the calls that cost circuits."""

    calls: dict[str, int]

    def forward(self, *args: object) -> object:
        self.calls["forward"] += 1
        return super().forward(*args)

    def backward(self, *args: object) -> object:
        self.calls["backward"] += 1
        return super().backward(*args)


def counting(model: QNNCircuit) -> Counting:
    network = stock_network(model)
    network.__class__ = Counting
    network.calls = {"forward": 0, "backward": 0}
    return network


def test_one_backward_of_the_network_serves_all_vector_jacobian_products() -> None:
    model = small_model()
    v, weight = drawn(model, 2)
    connector = QNNConnector(counting(model), weight)
    out = connector(v.requires_grad_())
    for k in range(2):
        torch.autograd.grad(out[:, k].sum(), [v, connector.weight], retain_graph=True)
    assert connector.neural_network.calls == {"forward": 1, "backward": 1}


def test_a_bound_map_asks_for_one_jacobian_a_request_and_knows_what_it_costs() -> None:
    model = small_model()
    v, weight = drawn(model, 3)
    connector = QNNConnector(counting(model), weight)
    lift = nearest_lift(4, 2).double()
    bound = connector.bind(v, lift)
    w = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    value, jacobian = bound.frozen().value_and_jacobian(w)
    assert connector.neural_network.calls == {"forward": 1, "backward": 1}
    native = QNNConnector(exact_network(model), weight).double()
    expected = native.bind(v, lift).value_and_jacobian(w)
    assert torch.allclose(value, expected[0], rtol=0, atol=1e-10)
    assert torch.allclose(jacobian, expected[1], rtol=0, atol=1e-10)
    assert torch.allclose(bound.unlifted_jacobian(w), native.bind(v, lift).unlifted_jacobian(w), rtol=0, atol=1e-10)
    # 2 observables in PUBs of their own; 7 rotations with 2 shifts each, 1 controlled rotation with 4.
    assert (bound.cost.circuits_per_value, bound.cost.circuits_per_jacobian) == (2, 2 * (7 * 2 + 4))
    assert bound.cost.shots_per_circuit == 0
    noisy = QNNConnector(stock_network(model, precision=1 / 32), weight)
    assert noisy.bind(v, lift).cost.shots_per_circuit == 1024
    connector.neural_network.calls["forward"] = connector.neural_network.calls["backward"] = 0
    cotangent = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    of_x, of_weight = bound.with_inputs((v.clone().requires_grad_(), connector.weight)).vjp(w, cotangent)
    assert connector.neural_network.calls == {"forward": 0, "backward": 1}
    right = native.bind(v.clone().requires_grad_(), lift).vjp(w, cotangent)
    assert torch.allclose(of_x, right[-1], rtol=0, atol=1e-10)
    leaf = v.clone()
    loss = (native(leaf + w @ lift.T) * cotangent).sum()
    assert torch.allclose(of_weight.double(), torch.autograd.grad(loss, native.weight)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("network", [exact_network, stock_network])
def test_a_stock_connector_has_the_same_map_as_ours(network: Callable[[QNNCircuit], EstimatorQNN]) -> None:
    model = small_model()
    v, weight = drawn(model, 3)
    lift = nearest_lift(4, 2).double()
    w = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    stock = TorchConnector(network(model), weight)
    bound = connector_map(stock, v, lift)
    assert any(tensor is stock.weight for tensor in bound.inputs) or network is exact_network
    expected = QNNConnector(exact_network(model), weight).bind(v, lift)
    for found, right in zip(bound.value_and_jacobian(w), expected.value_and_jacobian(w), strict=True):
        assert torch.allclose(found, right, rtol=0, atol=1e-10)
    (gradient,) = torch.autograd.grad(bound.value(w).sum(), stock.weight)
    assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("network", [exact_network, stock_network])
def test_equilibria_and_their_gradients_do_not_depend_on_the_route(
    network: Callable[[QNNCircuit], EstimatorQNN],
) -> None:
    model = small_model()
    x, weight = drawn(model, 4)
    lift = nearest_lift(4, 2).double()
    reference = QNNConnector(exact_network(model), weight).double()
    tested = QNNConnector(network(model), weight).double()
    results = []
    for layer in (reference, tested):
        leaf = x.clone().requires_grad_()
        solution = Equilibrium(layer, lift=lift, solver=Newton(tolerance=1e-10))(leaf)
        assert solution.converged.all()
        loss = (solution.value * torch.tensor([1.0, -0.5])).sum()
        results.append((solution.value.detach(), *torch.autograd.grad(loss, [leaf, layer.weight])))
    for found, expected in zip(*results, strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-8)


def test_a_jacobian_penalty_has_a_gradient_natively() -> None:
    model = QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), qdeq_ansatz(4), z_readout(4))
    x, weight = drawn(model, 3)
    connector = QNNConnector(exact_network(model), weight).double()
    equilibrium = Equilibrium(connector, lift=nearest_lift(16, 4).double(), penalty=ReducedJacobianPenalty())
    penalty = equilibrium(x).penalty
    (gradient,) = torch.autograd.grad(penalty, connector.weight)
    assert gradient.abs().max() > 1e-3


def test_weights_that_change_are_noticed() -> None:
    model = small_model()
    v, weight = drawn(model, 2)
    connector = QNNConnector(exact_network(model), weight)
    with torch.no_grad():
        before = connector(v)
        connector.weight.add_(0.3)
        after = connector(v)
    expected = connector.neural_network.forward(v.numpy(), connector.weight.detach().numpy())
    assert (before - after).abs().max() > 1e-3
    assert np.abs(after.numpy() - expected).max() < 1e-12


def test_a_copy_has_weights_of_its_own() -> None:
    model = small_model()
    v, weight = drawn(model, 2)
    connector = QNNConnector(exact_network(model), weight)
    before = connector(v)
    other = copy.deepcopy(connector)
    with torch.no_grad():
        other.weight.add_(0.5)
    assert torch.equal(connector(v), before)
    assert not torch.allclose(other(v), before)


def test_the_estimator_of_the_network_may_be_exchanged() -> None:
    model = small_model()
    v, weight = drawn(model, 2)
    connector = QNNConnector(exact_network(model), weight)
    native = connector(v)
    connector.neural_network.estimator = StatevectorEstimator()
    assert not connector.native
    assert torch.allclose(connector(v), native, rtol=0, atol=1e-12)


def test_observables_of_other_kinds_and_networks_of_other_kinds_work() -> None:
    model = small_model()
    v, weight = drawn(model, 2)
    estimator = HeisenbergEstimator()
    network = EstimatorQNN(
        circuit=model.circuit,
        input_params=model.input_parameters,
        weight_params=model.weight_parameters,
        observables=[Pauli("IZ"), Pauli("ZI")],
        estimator=estimator,
        gradient=HeisenbergGradient(estimator),
        input_gradients=True,
    )
    expected = QNNConnector(exact_network(model), weight)(v)
    assert torch.allclose(QNNConnector(network, weight)(v), expected, rtol=0, atol=1e-12)
    sampler = SamplerQNN(
        circuit=model.circuit,
        input_params=model.input_parameters,
        weight_params=model.weight_parameters,
        input_gradients=True,
    )
    ours, stock = (kind(sampler, weight)(v.float()) for kind in (QNNConnector, TorchConnector))
    assert ours.shape == stock.shape == (2, 4)


def test_wrong_features_and_networks_without_input_gradients_are_named() -> None:
    model = small_model()
    connector = QNNConnector(exact_network(model))
    with pytest.raises(ValueError, match=r"\(2, 5\); this network takes \(\.\.\., 4\)"):
        connector(torch.zeros(2, 5))
    with pytest.raises(ValueError, match="features have shape"):
        connector.bind(torch.zeros(2, 5), torch.zeros(5, 2))


def test_on_a_gpu_it_gives_what_it_gives_on_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU")
    model = small_model()
    v, weight = drawn(model, 3)
    connector = QNNConnector(exact_network(model), weight)
    expected = gradients(connector, v)
    with pytest.raises(ValueError, match="move the connector"):
        connector(v.cuda())
    connector.cuda()
    for found, right in zip(gradients(connector, v.cuda()), expected, strict=True):
        assert found.is_cuda
        assert torch.allclose(found.cpu(), right, rtol=0, atol=1e-6)


def weight_gradient(layer: torch.nn.Module, weight: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    solution = Equilibrium(layer, lift=nearest_lift(x.shape[1], 4).double(), solver=Newton(tolerance=1e-10))(x)
    assert solution.converged.all()
    (gradient,) = torch.autograd.grad((solution.value * torch.tensor([1.0, -0.5, 0.3, 2.0])).sum(), weight)
    return gradient


@pytest.mark.parametrize("called_before", [False, True])
def test_within_another_module_in_an_equilibrium_the_weights_have_the_exact_layers_gradient(
    called_before: bool,
) -> None:
    model = QNNCircuit.compose(amplitude_encoder(4, 16), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)
    _, weight = drawn(model, 1)
    connector = QNNConnector(exact_network(model), weight).double()
    layer = torch.nn.Sequential(AmplitudeAngles(16).double(), connector)
    x = torch.randn(3, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    if called_before:
        layer(x)
    exact = ExactLayer(model, precision="double", weight=torch.nn.Parameter(connector.weight.detach().clone()))
    expected = weight_gradient(exact, exact.weight, x)
    assert expected.abs().max() > 1e-2
    assert torch.allclose(weight_gradient(layer, connector.weight, x), expected, rtol=0, atol=1e-8)


def test_weights_put_in_the_place_of_others_are_those_that_count() -> None:
    model = small_model()
    v, weight = drawn(model, 2)
    connector = QNNConnector(exact_network(model), weight).double()
    connector(v)
    other = (connector.weight.detach() + 0.5).requires_grad_()
    expected = QNNConnector(exact_network(model), other.detach()).double()
    expected.weight.data.copy_(other.detach())
    right = expected(v)
    found = torch.func.functional_call(connector, {"weight": other}, (v,))
    assert torch.allclose(found, right, rtol=0, atol=1e-12)
    (gradient,) = torch.autograd.grad(found.sum(), other)
    assert torch.allclose(gradient, torch.autograd.grad(right.sum(), expected.weight)[0], rtol=0, atol=1e-12)
    connector.load_state_dict(expected.state_dict(), assign=True)
    found = connector(v)
    assert torch.allclose(found, right, rtol=0, atol=1e-12)
    assert torch.autograd.grad(found.sum(), connector.weight)[0].abs().max() > 1e-3


def test_evaluating_draws_nothing_from_torchs_generator() -> None:
    model = small_model()
    connector = QNNConnector(exact_network(model))
    torch.manual_seed(5)
    connector(torch.zeros(1, 4))
    drawn_after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn_after, torch.rand(1))


def test_a_gradient_through_the_iterations_is_right_whatever_the_estimator() -> None:
    model = small_model()
    x, weight = drawn(model, 3)
    lift = nearest_lift(4, 2).double()
    connector = QNNConnector(stock_network(model), weight).double()
    exact = QNNConnector(exact_network(model), weight).double()
    found, expected = (
        torch.autograd.grad(Equilibrium(layer, lift=lift, solver=solver, adjoint=adjoint)(leaf).value.sum(), both)
        for layer, adjoint in ((connector, Unrolled()), (exact, ImplicitAdjoint()))
        for solver in [Newton(tolerance=1e-12)]
        for leaf in [x.clone().requires_grad_()]
        for both in [[leaf, layer.weight]]
    )
    for one, other in zip(found, expected, strict=True):
        assert other.abs().max() > 1e-2
        assert torch.allclose(one, other, rtol=0, atol=1e-6)


def test_the_value_that_comes_with_a_jacobian_is_differentiated_by_the_jacobian_at_hand() -> None:
    model = small_model()
    v, weight = drawn(model, 3)
    connector = QNNConnector(counting(model), weight)
    value, _ = connector.bind(v, nearest_lift(4, 2).double()).value_and_jacobian(torch.zeros(3, 2).double())
    torch.autograd.grad(value.sum(), connector.weight)
    assert connector.neural_network.calls == {"forward": 1, "backward": 1}


@pytest.mark.parametrize("network", [exact_network, stock_network])
def test_whole_numbers_are_taken_as_floating_point_ones(network: Callable[[QNNCircuit], EstimatorQNN]) -> None:
    model = small_model()
    _, weight = drawn(model, 1)
    connector = QNNConnector(network(model), weight)
    ones = torch.ones(2, 4, dtype=torch.int64)
    out = connector(ones)
    assert out.dtype == torch.get_default_dtype()
    assert torch.equal(out, connector(ones.float()))
    bound = connector.bind(ones, nearest_lift(4, 2))
    assert torch.allclose(bound.value(torch.zeros(2, 2)), out, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [QNNConnector, TorchConnector])
@pytest.mark.parametrize("network", [exact_network, stock_network])
def test_a_batch_without_samples_has_no_values_and_weight_gradients_of_zero(
    kind: type[TorchConnector], network: Callable[[QNNCircuit], EstimatorQNN]
) -> None:
    model = small_model()
    _, weight = drawn(model, 1)
    connector = kind(network(model), weight)
    bound = connector_map(connector, torch.zeros(0, 4), nearest_lift(4, 2))
    w = torch.zeros(0, 2)
    assert [tensor.shape for tensor in bound.value_and_jacobian(w)] == [(0, 2), (0, 2, 2)]
    outs = [bound.value(w)]
    if kind is QNNConnector:
        assert connector(torch.zeros(3, 0, 4)).shape == (3, 0, 2)
        outs.append(connector(torch.zeros(0, 4)))
    for out in outs:
        (gradient,) = torch.autograd.grad(out.sum(), connector.weight)
        assert torch.equal(gradient, torch.zeros(4))


def test_the_circuit_is_read_once_for_what_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_model()
    bound = QNNConnector(stock_network(model)).bind(torch.zeros(1, 4), nearest_lift(4, 2))
    reads = []
    monkeypatch.setattr(connector_module, "program_of", lambda *args: reads.append(1) or program_of(*args))
    assert bound.cost == bound.cost == bound.frozen().cost
    assert len(reads) == 1


@pytest.mark.parametrize("kind", [QNNConnector, TorchConnector])
def test_what_was_evaluated_in_inference_mode_is_trained_afterwards(kind: type[TorchConnector]) -> None:
    model = QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), qdeq_ansatz(4), z_readout(4))
    x, weight = drawn(model, 2, torch.float32)
    connector = kind(exact_network(model), weight)
    _trace_matrix.cache_clear()
    with torch.inference_mode():
        before = connector(x)
    out = connector(x.requires_grad_())
    assert torch.allclose(out, before, rtol=0, atol=1e-6)
    for gradient in torch.autograd.grad(out.square().sum(), [connector.weight, x]):
        assert gradient.abs().max() > 1e-3
