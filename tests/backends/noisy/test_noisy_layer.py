"""The noisy layer: Aer's values, the derivatives of parameter shift and finite differences, maps that solve."""

from __future__ import annotations

import copy

import pytest
import torch
from noisy_circuits import (
    MODELS,
    SOURCES,
    amplitude_model,
    compiled_with,
    layer_of,
    noise_of,
    random_point,
    tangled_model,
)

from qdeq_qiskit.backends import ExactLayer
from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.noisy import AerMachine, NoisyCircuit, NoisyLayer, NotEffectiveError, prepared_map
from qdeq_qiskit.backends.noisy.prepared_map import PreparedMap
from qdeq_qiskit.backends.noisy.prepared_state import PreparedState
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.circuits import QNNCircuit, angle_encoder, qdeq_ansatz, ryzxy_gates, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, Newton, nearest_lift
from qdeq_qiskit.noise import CircuitNoise


@pytest.mark.parametrize("model", MODELS)
def test_without_noise_it_is_the_exact_layer(model: str) -> None:
    qnn = MODELS[model]()
    features, weight = random_point(qnn)
    circuit = NoisyCircuit(qnn, compile_circuit(qnn), CircuitNoise(qnn.num_qubits))
    noisy = NoisyLayer(circuit, precision="double", weight=torch.nn.Parameter(weight))
    exact = ExactLayer(qnn, precision="double", weight=noisy.weight)
    assert torch.allclose(noisy(features), exact(features), rtol=0, atol=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_an_encoder_without_noise_is_that_of_the_reference_with_ideal_gates(model: str) -> None:
    layer, features = layer_of(MODELS[model](), noise_of(*SOURCES["readout"]), encoder_noise=False)
    circuit = layer.circuit
    machine = AerMachine(circuit.compiled, circuit.noise, encoder_noise=False, shots=None)
    reference = SampledLayer(circuit.qnn, machine, noisy_encoder=False, weight=layer.weight)
    with torch.no_grad():
        assert torch.allclose(layer(features), reference(features), rtol=0, atol=1e-10)
        noisy, _ = layer_of(MODELS[model](), noise_of(*SOURCES["readout"]))
        assert (layer(features) - noisy(features)).abs().max() > 1e-3


@pytest.mark.parametrize("model", MODELS)
def test_gradients_are_those_of_parameter_shift_on_aer(model: str) -> None:
    layer, features = layer_of(MODELS[model](), noise_of(*SOURCES["readout"]))
    machine = AerMachine(layer.circuit.compiled, layer.circuit.noise, shots=None)
    reference = SampledLayer(layer.qnn, machine, noisy_encoder=True, weight=layer.weight)
    probe = torch.randn(2, layer.qnn.num_outputs, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    gradients = []
    for tested in (layer, reference):
        leaf = features.clone().requires_grad_()
        gradients.append(torch.autograd.grad((tested(leaf) * probe).sum(), [leaf, layer.weight]))
    for found, expected in zip(*gradients, strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("encoder_noise", [True, False])
@pytest.mark.parametrize("model", MODELS)
def test_a_bound_maps_derivatives_are_those_of_finite_differences(model: str, encoder_noise: bool) -> None:
    layer, x = layer_of(MODELS[model](), noise_of(*SOURCES["readout"]), encoder_noise=encoder_noise)
    n = layer.qnn.num_outputs
    lift = torch.randn(x.shape[1], n, dtype=torch.float64, generator=torch.Generator().manual_seed(2)) / 4
    bound = layer.bind(x, lift)
    w = torch.randn(2, n, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) / 4
    value, jacobian = bound.value_and_jacobian(w)
    assert torch.allclose(value, bound.value(w), rtol=0, atol=1e-12)
    for column in range(n):
        step = 1e-5 * torch.eye(n, dtype=torch.float64)[column]
        slope = (bound.value(w + step) - bound.value(w - step)) / 2e-5
        assert torch.allclose(jacobian[:, :, column], slope, rtol=0, atol=1e-7)
    assert torch.allclose(bound.unlifted_jacobian(w) @ lift, jacobian, rtol=0, atol=1e-10)

    def measure(state: torch.Tensor, features: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        found, slopes = layer.bind(features, lift, weight).value_and_jacobian(state)
        return found.square().sum() + slopes.square().sum()

    inputs = (w.requires_grad_(), x.requires_grad_(), layer.weight.detach().clone().requires_grad_())
    assert torch.autograd.gradcheck(measure, inputs, atol=1e-5)


def test_steering_is_close_to_the_jacobian_and_exact_without_noise_in_the_encoder() -> None:
    layer, x = layer_of(amplitude_model(), noise_of(*SOURCES["depolarizing"]))
    lift = nearest_lift(8, 3).double()
    bound = layer.bind(x, lift).frozen()
    assert isinstance(bound, PreparedMap)
    assert not bound.steers_exactly
    w = torch.zeros(2, 3, dtype=torch.float64)
    with torch.no_grad():
        value, steering = bound.value_and_steering(w)
        jacobian = bound.value_and_jacobian(w)[1]
        assert torch.equal(value, bound.value(w))
    assert 1e-3 < (steering - jacobian).abs().max() < 0.3 * jacobian.abs().max()
    ideal, _ = layer_of(amplitude_model(), noise_of(*SOURCES["depolarizing"]), encoder_noise=False)
    assert ideal.bind(x, lift).steers_exactly
    with torch.no_grad():
        assert torch.allclose(ideal.bind(x, lift).value_and_jacobian(w)[1], steering, rtol=0, atol=1e-10)


@pytest.mark.parametrize("model", ["angle", "amplitude"])
def test_an_equilibrium_is_found_and_its_gradient_is_that_of_finite_differences(model: str) -> None:
    layer, x = layer_of(MODELS[model](), noise_of(*SOURCES["readout"]))
    x = x.abs()
    n = layer.qnn.num_outputs
    lift = nearest_lift(x.shape[1], n).double()
    solver = Newton(tolerance=1e-12, max_iterations=80)
    solution = Equilibrium(layer, lift=lift, solver=solver).double()(x)
    assert solution.converged.all()
    found = layer.bind(x, lift).value(solution.value.detach())
    assert torch.allclose(found, solution.value, rtol=0, atol=1e-10)
    (gradient,) = torch.autograd.grad(solution.value.sum(), layer.weight)

    def loss(weight: torch.Tensor) -> float:
        other = NoisyLayer(layer.circuit, precision="double", weight=torch.nn.Parameter(weight))
        return Equilibrium(other, lift=lift, solver=solver).double()(x).value.sum().item()

    for index in (0, len(layer.weight) - 1):
        step = 1e-5 * torch.eye(len(layer.weight), dtype=torch.float64)[index]
        slope = (loss(layer.weight.detach() + step) - loss(layer.weight.detach() - step)) / 2e-5
        assert float(gradient[index]) == pytest.approx(slope, abs=1e-6)


def test_a_direct_model_has_a_gradient_through_the_noisy_encoder() -> None:
    layer, x = layer_of(amplitude_model(), noise_of(*SOURCES["depolarizing"]))
    lift = nearest_lift(8, 3).double()
    direct = Equilibrium(layer, lift=lift, mode="direct", layers=3).double()
    (gradient,) = torch.autograd.grad(direct(x).value.sum(), layer.weight)
    weight = layer.weight.detach().clone().requires_grad_()
    w = torch.zeros(2, 3, dtype=torch.float64)
    for _ in range(3):
        w = layer.bind(x, lift, weight).value(w)
    assert torch.allclose(gradient, torch.autograd.grad(w.sum(), weight)[0], rtol=0, atol=1e-12)


def test_angles_stay_near_those_of_the_features_while_the_state_moves() -> None:
    """Two entries of a leaf move together through (−0.8, 0), where the angle of atan2 jumps."""
    layer, _ = layer_of(amplitude_model(4), noise_of(*SOURCES["depolarizing"]))
    x = torch.linspace(0.3, 1.0, 16, dtype=torch.float64).unsqueeze(0)
    x[0, :2] = torch.tensor([0.2, 1.0])
    lift = torch.zeros(16, 1, dtype=torch.float64)
    lift[:2] = 1.0
    steps = torch.tensor([[-1 + 1e-6], [-1 - 1e-6]], dtype=torch.float64)
    bound = layer.bind(x.expand(2, -1), lift)
    machine = AerMachine(layer.circuit.compiled, layer.circuit.noise, shots=None)
    sampled = SampledLayer(layer.qnn, machine, noisy_encoder=True, weight=layer.weight).bind(x.expand(2, -1), lift)
    with torch.no_grad():
        near, principal = bound.value(steps), layer(x + steps @ lift.T)
        assert torch.allclose(near, sampled.value(steps), rtol=0, atol=1e-10)
    assert (near[0] - near[1]).abs().max() < 1e-4
    assert (principal[0] - principal[1]).abs().max() > 1e-3
    # What is recorded for autograd is the same function.
    leaf = steps.clone().requires_grad_()
    assert torch.allclose(bound.value(leaf), near, rtol=0, atol=1e-12)


def test_operators_are_kept_for_the_same_weights_and_serve_outside_of_inference_mode() -> None:
    layer, x = layer_of(amplitude_model(), noise_of(*SOURCES["depolarizing"]))
    with torch.inference_mode():
        first = layer(x)
        kept = layer.operators()
        assert layer.operators() is kept
    with torch.no_grad():
        assert layer.operators() is kept
        layer.weight[0] += 0.1
        assert layer.operators() is not kept
    leaf = x.clone().requires_grad_()
    layer(leaf).sum().backward()
    assert leaf.grad is not None
    assert not torch.equal(first, layer(x))


def test_what_does_not_fit_is_refused_with_both_sides_named() -> None:
    layer, x = layer_of(amplitude_model(), noise_of(*SOURCES["depolarizing"]))
    with pytest.raises(ValueError, match=r"shape \(2, 7\); this circuit takes \(B, 8\)"):
        layer(x[:, :7])
    with pytest.raises(ValueError, match=r"float32.*computes in torch\.float64"):
        layer(x.float())
    with pytest.raises(ValueError, match=r"weight has shape \(3,\); this circuit has"):
        NoisyLayer(layer.circuit, weight=torch.nn.Parameter(torch.zeros(3)))
    with pytest.raises(ValueError, match="precision = 'half'"):
        NoisyLayer(layer.circuit, precision="half")


def test_circuits_that_the_effective_route_cannot_take_are_told_why() -> None:
    model = QNNCircuit.compose(angle_encoder(9, ryzxy_gates(9)), qdeq_ansatz(9), z_readout(9))
    compiled, noise = compiled_with(model, noise_of(*SOURCES["depolarizing"]))
    with pytest.raises(NotEffectiveError, match=r"9 wires.*limit is 8 wires behind an encoder of single gates"):
        NoisyCircuit(model, compiled, noise)
    tangled = tangled_model()
    swapped = QNNCircuit(tangled.circuit, tangled.weight_parameters, tangled.input_parameters, tangled.observables)
    compiled, noise = compiled_with(swapped, noise_of(*SOURCES["depolarizing"]))
    with pytest.raises(NotEffectiveError, match="depends on weights"):
        NoisyCircuit(swapped, compiled, noise)


def test_samples_with_empty_blocks_have_finite_gradients() -> None:
    layer, _ = layer_of(amplitude_model(), noise_of(*SOURCES["amplitude_damping"]))
    rows = [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 2, 0, 0], [0, 0, -0.0, 0, 1, 0, 3, 0]]
    x = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    w = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    bound = layer.bind(x, torch.eye(8, dtype=torch.float64)[:, :2])
    value, jacobian = bound.value_and_jacobian(w)
    inputs = [x, w, layer.weight]
    found = torch.autograd.grad(value.sum(), inputs, retain_graph=True)
    for gradient, expected in zip(
        found, torch.autograd.grad(bound.value(w).sum(), inputs, retain_graph=True), strict=True
    ):
        assert (gradient - expected).abs().max() < 1e-12
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(jacobian.square().sum(), inputs))


def test_derivatives_of_many_samples_are_taken_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, _ = layer_of(amplitude_model(), noise_of(*SOURCES["depolarizing"]))
    x = torch.randn(5, 8, dtype=torch.float64, requires_grad=True)
    bound, w = layer.bind(x, torch.eye(8, dtype=torch.float64)[:, :3]), torch.zeros(5, 3, dtype=torch.float64)
    whole = bound.value_and_jacobian(w)
    most: list[int] = []
    evaluate = PreparedState.state_and_tangents

    def counting(self: PreparedState, angles: torch.Tensor, along: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        most.append(angles.shape[1])
        return evaluate(self, angles, along)

    monkeypatch.setattr(PreparedState, "state_and_tangents", counting)
    monkeypatch.setattr(prepared_map, "_HELD_ELEMENTS", 2 * 64 * 4)
    parts = bound.value_and_jacobian(w)
    assert max(most) < 5
    assert sum(most) == 5
    for one, other in zip(whole, parts, strict=True):
        assert (one - other).abs().max() < 1e-12
        both = (torch.autograd.grad(each.square().sum(), x, retain_graph=True)[0] for each in (one, other))
        assert (next(both) - next(both)).abs().max() < 1e-12


def test_a_copy_has_weights_of_its_own() -> None:
    layer, features = layer_of(amplitude_model(), noise_of(*SOURCES["depolarizing"]))
    before = layer(features).detach()
    copied = copy.deepcopy(layer)
    with torch.no_grad():
        copied.weight.add_(1.0)
    assert torch.equal(layer(features), before)
    assert (copied(features) - before).abs().max() > 1e-3
    assert copied.circuit is layer.circuit


@pytest.mark.parametrize("model", MODELS)
def test_a_batch_may_be_empty(model: str) -> None:
    layer, features = layer_of(MODELS[model](), noise_of(*SOURCES["readout"]))
    none, outputs = features[:0], layer.qnn.num_outputs
    assert layer(none).shape == (0, outputs)
    (gradient,) = torch.autograd.grad(layer(none).sum(), layer.weight)
    assert not gradient.any()
    bound = layer.bind(none, torch.eye(features.shape[1], dtype=torch.float64)[:, :2])
    assert bound.value_and_jacobian(torch.zeros(0, 2, dtype=torch.float64))[1].shape == (0, outputs, 2)
