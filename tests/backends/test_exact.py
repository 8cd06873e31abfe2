"""The exact layer's closed forms against Qiskit's Statevector and finite differences."""

import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import efficient_su2, real_amplitudes, zz_feature_map
from qiskit.quantum_info import SparsePauliOp, Statevector

from qdeq_qiskit.backends.amplitude import AmplitudeAngles, AmplitudeState
from qdeq_qiskit.backends.analysis import factorise
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps import QuadraticMap
from qdeq_qiskit.circuits import (
    QNNCircuit,
    amplitude_angles,
    amplitude_encoder,
    angle_encoder,
    qdeq_ansatz,
    z_readout,
)
from qdeq_qiskit.equilibrium import Equilibrium, MapCost, Reason, nearest_lift

PAULIS = [SparsePauliOp(["XYZ", "ZII"], [0.5, -1.0]), SparsePauliOp("IYX"), SparsePauliOp(["III", "ZZX"], [0.2, 2.0])]


def amplitude_qnn(num_qubits=4, num_amplitudes=16):
    encoder = amplitude_encoder(num_qubits, num_amplitudes)
    return QNNCircuit.compose(encoder, qdeq_ansatz(num_qubits), z_readout(num_qubits), num_amplitudes=num_amplitudes)


def angle_qnn(num_qubits=4):
    gates = [(axis, wire) for axis in ("ry", "rz", "rx", "ry") for wire in range(num_qubits)]
    return QNNCircuit.compose(angle_encoder(num_qubits, gates), qdeq_ansatz(num_qubits), z_readout(num_qubits))


def uneven_angle_qnn():
    """Wires with different numbers of rotations, fixed gates between and after them, one wire with none."""
    x = ParameterVector("x", 4)
    encoder = QuantumCircuit(3)
    encoder.h(0)
    encoder.rx(x[0], 0)
    encoder.s(0)
    encoder.rz(2 * x[1] * x[0], 0)
    encoder.ry(x[2], 1)
    encoder.sx(1)
    encoder.p(x[3], 1)
    encoder.t(2)
    return QNNCircuit.compose(encoder, efficient_su2(3, reps=1), PAULIS)


def entangled_qnn():
    return QNNCircuit.compose(zz_feature_map(3, reps=1), real_amplitudes(3, reps=1), PAULIS)


def reuploading_qnn():
    x, t = ParameterVector("x", 2), ParameterVector("t", 7)
    circuit = QuantumCircuit(3)
    for j in range(2):
        circuit.ry(x[0], 0)
        circuit.crx(t[3 * j], 0, 1)
        circuit.rx(x[1] * t[3 * j + 1], 1)
        circuit.ry(t[3 * j + 2], 2)
        circuit.cx(1, 2)
    circuit.rz(t[6], 2)
    circuit.rx(0.3, 2)
    return QNNCircuit(circuit, list(x), list(t), PAULIS)


CIRCUITS = {
    "amplitude": amplitude_qnn,
    "amplitude of fewer features": lambda: amplitude_qnn(4, 13),
    "amplitude on fewer wires": lambda: amplitude_qnn(4, 6),
    "amplitude of six qubits": lambda: amplitude_qnn(6, 64),
    "gate angles as features": lambda: QNNCircuit.compose(amplitude_encoder(3), efficient_su2(3, reps=1), PAULIS),
    "angles": angle_qnn,
    "uneven angles": uneven_angle_qnn,
    "entangled encoder": entangled_qnn,
    "data re-uploading": reuploading_qnn,
}


def layer_and_features(name, batch=5):
    torch.manual_seed(1)
    qnn = CIRCUITS[name]()
    layer = ExactLayer(qnn, precision="double")
    return qnn, layer, torch.randn(batch, qnn.num_features, dtype=torch.float64)


def expectations_by_qiskit(qnn, features, weight):
    circuit = qnn.circuit
    rows = []
    for inputs in qnn.input_values(features.numpy()):
        values = dict(zip([*qnn.input_parameters, *qnn.weight_parameters], [*inputs, *weight], strict=True))
        state = Statevector(circuit.assign_parameters(values))
        rows.append([state.expectation_value(observable).real for observable in qnn.observables])
    return np.array(rows)


@pytest.mark.parametrize("name", CIRCUITS)
def test_values_are_those_of_qiskits_statevector(name):
    qnn, layer, features = layer_and_features(name)
    expected = expectations_by_qiskit(qnn, features, layer.weight.detach().numpy())
    assert np.abs(layer(features).detach().numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("name", CIRCUITS)
def test_gradients_match_finite_differences(name):
    _, layer, features = layer_and_features(name, batch=2)
    features.requires_grad_()

    def values(features, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (features,))

    assert torch.autograd.gradcheck(values, (features, layer.weight))


@pytest.mark.parametrize("name", ["amplitude on fewer wires", "uneven angles", "data re-uploading"])
def test_second_derivatives_match_finite_differences(name):
    _, layer, features = layer_and_features(name, batch=1)
    features.requires_grad_()

    def values(features, weight):
        return torch.func.functional_call(layer, {"weight": weight}, (features,))[:, :1]

    assert torch.autograd.gradgradcheck(values, (features, layer.weight))


@pytest.mark.parametrize("name", CIRCUITS)
def test_the_bound_maps_jacobian_matches_autograd_of_the_plain_layer(name):
    qnn, layer, features = layer_and_features(name)
    lift = nearest_lift(qnn.num_features, 2).to(torch.float64)
    w = torch.randn(len(features), 2, dtype=torch.float64)
    bound = layer.bind(features, lift)
    value, jacobian = bound.frozen().value_and_jacobian(w)
    expected = torch.stack(
        [
            torch.autograd.functional.jacobian(lambda s, b=b: layer((features[b] + lift @ s)[None])[0], w[b])
            for b in range(len(features))
        ]
    )
    assert (jacobian - expected).abs().max() < 1e-11
    assert (value - layer(features + w @ lift.T)).abs().max() < 1e-12
    assert (bound.value_and_jacobian(w)[1] - expected).abs().max() < 1e-11
    assert (bound.unlifted_jacobian(w) @ lift - expected).abs().max() < 1e-11


@pytest.mark.parametrize("name", CIRCUITS)
def test_a_selected_map_is_the_map_of_those_samples(name):
    qnn, layer, features = layer_and_features(name)
    lift = nearest_lift(qnn.num_features, 2).to(torch.float64)
    rows, w = torch.tensor([4, 0, 2]), torch.randn(3, 2, dtype=torch.float64)
    alone = layer.bind(features[rows], lift).value_and_jacobian(w)
    for bound in (layer.bind(features, lift), layer.bind(features, lift).frozen()):
        for chosen, expected in zip(bound.select(rows).value_and_jacobian(w), alone, strict=True):
            assert (chosen - expected).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["amplitude", "amplitude on fewer wires", "uneven angles", "data re-uploading"])
def test_the_vjp_is_autograds(name):
    qnn, layer, features = layer_and_features(name)
    lift = nearest_lift(qnn.num_features, 2).to(torch.float64)
    w, u = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, qnn.num_outputs, dtype=torch.float64)
    bound = layer.bind(features, lift)
    gradients = bound.vjp(w, u)
    # Each input as a leaf of its own: operators depend on weights, but that is the rest of the graph's business.
    leaves = tuple(tensor.detach().requires_grad_(tensor.requires_grad) for tensor in bound.inputs)
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    expected = iter(torch.autograd.grad(bound.with_inputs(leaves).value(w), wanted, u, allow_unused=True))
    for tensor, gradient in zip(bound.inputs, gradients, strict=True):
        if not tensor.requires_grad:
            assert gradient is None
        elif (reference := next(expected)) is not None:
            assert (gradient - reference).abs().max() < 1e-12


@pytest.mark.parametrize("name", ["amplitude", "amplitude on fewer wires"])
@pytest.mark.parametrize("of_features", [False, True])
def test_a_jacobian_that_is_known_has_the_gradient_of_one_that_is_evaluated(name, of_features):
    qnn, layer, features = layer_and_features(name)
    lift = nearest_lift(qnn.num_features, qnn.num_outputs).to(torch.float64)
    w = torch.randn(5, qnn.num_outputs, dtype=torch.float64)
    u, c = torch.randn_like(w), torch.randn(*w.shape, qnn.num_outputs, dtype=torch.float64)
    inputs = [layer.weight, features.detach().requires_grad_()][: 1 + of_features]
    found = []
    for known in (False, True):
        bound = layer.bind(inputs[-1] if of_features else features, lift)
        assert bound.records_known_jacobian
        value, jacobian = bound.value_and_jacobian(w)
        if known:
            before = jacobian.detach()
            value, jacobian = bound.recorded_at_root(w, before)
            assert torch.equal(jacobian, before)
        loss = (value * u).sum() + (c * jacobian).sum()
        plain = torch.autograd.grad(loss, inputs, retain_graph=True)
        first = torch.autograd.grad(loss, inputs, create_graph=True)
        second = torch.autograd.grad(sum(gradient.square().sum() for gradient in first), inputs)
        found.append((*plain, *first, *second))
        for by_hand, by_autograd in zip(plain, first, strict=True):
            assert (by_hand - by_autograd).abs().max() < 1e-12 * (1 + by_autograd.abs().max())
    for gradient, expected in zip(*found, strict=True):
        assert (gradient - expected).abs().max() < 1e-12 * (1 + expected.abs().max())


def test_the_zero_vector_is_evaluated_as_its_circuit_is_and_has_no_slope():
    qnn, layer, _ = layer_and_features("amplitude")
    lift = nearest_lift(16, 4).to(torch.float64)
    zero, state = torch.zeros(2, 16, dtype=torch.float64), torch.zeros(2, 4, dtype=torch.float64)
    expected = expectations_by_qiskit(qnn, zero, layer.weight.detach().numpy())
    bound = layer.bind(zero, lift)
    for fixed_point_map in (bound, bound.frozen()):
        value, jacobian = fixed_point_map.value_and_jacobian(state)
        assert np.abs(value.detach().numpy() - expected).max() < 1e-12
        assert torch.count_nonzero(jacobian) == 0
    u = torch.ones(2, 4, dtype=torch.float64)
    (by_hand, _), (by_autograd,) = bound.vjp(state, u), torch.autograd.grad(bound.value(state), bound.inputs[0], u)
    assert (by_hand - by_autograd).abs().max() < 1e-14


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, -0.0, 1.0, -1.5, 1e-3]), min_size=2, max_size=16))
def test_torch_gate_angles_are_those_of_the_circuits_floor_with_finite_gradients(entries):
    vector = np.array(entries)
    width = (len(entries) - 1).bit_length()
    v = torch.tensor(vector, requires_grad=True)
    angles = AmplitudeAngles(len(entries))(v)
    expected = amplitude_angles(vector, width)
    difference = (angles.detach().numpy() - expected + np.pi) % (2 * np.pi) - np.pi
    state, same = (AmplitudeState(width)(torch.as_tensor(a)) for a in (angles.detach(), expected))
    assert (state - same).abs().max() < 1e-12, difference
    norm = np.linalg.norm(vector)
    wanted = np.append(vector / norm, np.zeros(2**width - len(entries))) if norm else np.eye(2**width)[0]
    assert np.abs(state.numpy() - wanted).max() < 1e-12
    (gradient,) = torch.autograd.grad((angles**2).sum(), v)
    assert torch.isfinite(gradient).all()


def test_gate_angles_have_the_derivatives_that_finite_differences_give():
    v = torch.randn(3, 11, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(AmplitudeAngles(11), v)


def test_values_through_gate_angles_equal_values_from_features():
    qnn, layer, features = layer_and_features("amplitude of fewer features")
    by_angles = ExactLayer(
        QNNCircuit(qnn.circuit, qnn.input_parameters, qnn.weight_parameters, qnn.observables),
        precision="double",
        weight=layer.weight,
    )
    assert (by_angles(AmplitudeAngles(13)(features)) - layer(features)).abs().max() < 1e-12


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("amplitude", "amplitude"),
        ("amplitude on fewer wires", "amplitude"),
        ("gate angles as features", "amplitude"),
        ("angles", "product"),
        ("uneven angles", "product"),
        ("entangled encoder", "general"),
        ("data re-uploading", "general"),
    ],
)
def test_encoders_are_recognised(name, kind):
    qnn = CIRCUITS[name]()
    assert factorise(qnn.circuit, qnn.input_parameters, qnn.weight_parameters).kind == kind


def test_the_suffix_takes_every_gate_that_no_input_reaches_later():
    x, t = ParameterVector("x", 2), ParameterVector("t", 4)
    circuit = QuantumCircuit(3)
    circuit.ry(t[0], 1)  # before any input, on a wire that inputs never touch: in the suffix
    circuit.rx(x[0], 0)
    circuit.rz(t[1], 2)  # before an input on its wire: in the prefix
    circuit.rx(x[1], 2)
    circuit.cx(0, 1)
    circuit.ry(t[2], 0)
    circuit.ry(t[3], 2)
    parts = factorise(circuit, list(x), list(t))
    assert [operation.name for operation in parts.prefix.operations] == ["rx", "rz", "rx"]
    assert [operation.name for operation in parts.suffix.operations] == ["ry", "cx", "ry", "ry"]


def test_a_circuit_that_does_not_factor_says_so_once(caplog):
    with caplog.at_level(logging.WARNING, logger="qdeq_qiskit"):
        ExactLayer(reuploading_qnn())
    assert len(caplog.records) == 1
    assert "data re-uploading" in caplog.text


def test_too_many_qubits_for_dense_operators_are_evolved_and_said_so(caplog):
    encoder = angle_encoder(10, [("ry", wire) for wire in range(10)])
    encoder.cz(0, 1)
    encoder.compose(angle_encoder(10, [("rx", 0)]).assign_parameters([encoder.parameters[0]]), inplace=True)
    qnn = QNNCircuit.compose(encoder, real_amplitudes(10, reps=1), z_readout(10))
    with caplog.at_level(logging.WARNING, logger="qdeq_qiskit"):
        layer = ExactLayer(qnn, precision="double")
    assert "too many" in caplog.text
    features = torch.randn(2, 10, dtype=torch.float64)
    expected = expectations_by_qiskit(qnn, features, layer.weight.detach().numpy())
    assert np.abs(layer(features).detach().numpy() - expected).max() < 1e-12


def test_operators_are_built_once_for_the_same_weights_and_again_for_others():
    _, layer, features = layer_and_features("amplitude")
    calls = []
    evaluate = layer.engine.evaluate
    layer.engine.evaluate = lambda angles: calls.append(1) or evaluate(angles)
    with torch.no_grad():
        first = layer(features)
        assert torch.equal(layer(features), first)
        assert len(calls) == 1
        layer.weight += 0.1
        assert not torch.allclose(layer(features), first)
        assert len(calls) == 2


@pytest.mark.parametrize("name", ["amplitude", "angles"])
def test_single_precision_agrees_with_double_to_single_precision(name):
    qnn, double, features = layer_and_features(name)
    single = ExactLayer(qnn, weight=torch.nn.Parameter(double.weight.detach().float()))
    assert single(features.float()).dtype == torch.float32
    assert (single(features.float()) - double(features)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (torch.zeros(3, 15), r"\(3, 15\).*\(B, 16\)"),
        (torch.zeros(3, 16, dtype=torch.float64), "torch.float64.*torch.float32"),
    ],
)
def test_features_that_do_not_fit_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        ExactLayer(amplitude_qnn())(features)


def test_weights_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="39 weights"):
        ExactLayer(amplitude_qnn(), weight=torch.nn.Parameter(torch.zeros(35)))


def test_costs_count_what_a_machine_that_only_evaluates_circuits_would_run():
    lift = nearest_lift(16, 4)
    quadratic = ExactLayer(amplitude_qnn()).bind(torch.zeros(1, 16), lift)
    assert isinstance(quadratic, QuadraticMap)
    assert quadratic.cost == MapCost(1, 8)
    assert ExactLayer(angle_qnn()).bind(torch.zeros(1, 16), lift).cost == MapCost(1, 32)


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-4, 1e-6])
def test_the_reduced_map_keeps_its_digits_where_the_state_nearly_cancels_the_features(scale):
    layer = ExactLayer(amplitude_qnn())
    lift = nearest_lift(16, 4)
    generator = torch.Generator().manual_seed(3)
    w, direction = torch.randn(50, 4, generator=generator), torch.randn(50, 16, generator=generator)
    x = scale * direction - w @ lift.T
    exact = ExactLayer(amplitude_qnn(), precision="double", weight=torch.nn.Parameter(layer.weight.detach().double()))
    expected = exact(x.double() + w.double() @ lift.double().T).detach()
    error = (layer.bind(x, lift).frozen().value(w) - expected).abs().max()
    # x itself is rounded: relative to v by 1e-7 / scale, whatever is computed from it.
    assert error < 3e-6 / scale


def test_gradients_to_operators_are_right_where_the_state_depends_on_them_too():
    _, layer, features = layer_and_features("amplitude", batch=3)
    lift = nearest_lift(16, 4).to(torch.float64)

    def newton_step(weight):
        bound = layer.bind(features, lift, weight)
        w = bound.value(torch.zeros(3, 4, dtype=torch.float64))
        value, jacobian = bound.value_and_jacobian(w)
        return w + torch.linalg.solve(torch.eye(4, dtype=torch.float64) - jacobian, value - w)

    assert torch.autograd.gradcheck(newton_step, layer.weight)
    total = newton_step(layer.weight).sum()
    (plain,) = torch.autograd.grad(total, layer.weight, retain_graph=True)
    (recorded,) = torch.autograd.grad(total, layer.weight, create_graph=True)
    assert (plain - recorded).abs().max() < 1e-12


@pytest.mark.parametrize("name", CIRCUITS)
def test_an_empty_batch_has_an_empty_answer(name):
    qnn, layer, features = layer_and_features(name)
    bound = layer.bind(features[:0], nearest_lift(qnn.num_features, 2).to(torch.float64))
    for fixed_point_map in (bound, bound.frozen()):
        value, jacobian = fixed_point_map.value_and_jacobian(torch.zeros(0, 2, dtype=torch.float64))
        assert value.shape == (0, qnn.num_outputs)
        assert jacobian.shape == (0, qnn.num_outputs, 2)
    value, jacobian = bound.value_and_jacobian(torch.zeros(0, 2, dtype=torch.float64))
    (gradient,) = torch.autograd.grad(value.sum() + jacobian.sum(), layer.weight)
    assert torch.count_nonzero(gradient) == 0


@pytest.mark.parametrize("name", ["amplitude", "angles", "entangled encoder"])
def test_a_layer_evaluated_in_inference_mode_trains_afterwards(name):
    _, layer, features = layer_and_features(name)
    with torch.inference_mode():
        seen = layer(features.clone())
    value = layer(features)
    assert torch.allclose(seen, value)
    value.sum().backward()
    assert torch.isfinite(layer.weight.grad).all()
    with torch.no_grad():
        layer(features)
    leaf = features.clone().requires_grad_()
    layer.weight.requires_grad_(False)
    layer(leaf).sum().backward()  # through the operators that inference mode and no_grad have kept
    assert torch.isfinite(leaf.grad).all()


def test_a_bare_circuit_is_refused_with_what_to_do():
    with pytest.raises(TypeError, match="wrap it: QNNCircuit"):
        ExactLayer(QuantumCircuit(2))


@pytest.mark.parametrize("features", [torch.full((2, 16), torch.nan), torch.zeros(0, 16)])
def test_a_batch_without_any_finite_sample_has_a_defined_solution(features):
    equilibrium = Equilibrium(ExactLayer(amplitude_qnn()), lift=nearest_lift(16, 4), on_failure="record")
    solution = equilibrium(features)
    assert solution.value.shape == (len(features), 4)
    assert not solution.converged.any()
    assert (solution.reason == int(Reason.NOT_FINITE)).all()
