"""Weight blocks cut in two, and product-state encoders in their simplest form, against slower exact ways."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp, Statevector

from qdeq_qiskit.backends.analysis import factorise
from qdeq_qiskit.backends.cut import best_cut, cut_at
from qdeq_qiskit.backends.evolution import evolve
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps import CircleEncoder, CutBlock, EncodedBlock, ProductMap, WireStates, cut_block
from qdeq_qiskit.backends.product_choice import ONE_VALUE, SOLVE, ProductChoice
from qdeq_qiskit.backends.product_form import product_form
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.circuits import (
    QNNCircuit,
    alternating_gates,
    angle_encoder,
    paper10_gates,
    qdeq_ansatz,
    random_layer,
    ryzxy_gates,
    z_readout,
)
from qdeq_qiskit.equilibrium import MapCost, nearest_lift


def qdeq(num_qubits, gates):
    ansatz = qdeq_ansatz(num_qubits) if num_qubits >= 4 else random_layer(num_qubits)
    return QNNCircuit.compose(angle_encoder(num_qubits, gates), ansatz, z_readout(num_qubits))


def pauli_sums():
    """Observables of several terms, on several wires, and an ansatz whose angles are not all different."""
    paulis = [SparsePauliOp(["XYIII", "IIIZX"], [0.5, -1.0]), SparsePauliOp("IYIIY"), SparsePauliOp("IIIII")]
    ansatz = efficient_su2(5, reps=1)
    return QNNCircuit.compose(angle_encoder(5, ryzxy_gates(5)), ansatz, paulis)


def odd_wires():
    """A wire of every kind: never turned, turned about its own axis, on a great circle, on a small one, anywhere."""
    x = ParameterVector("x", 9)
    encoder = QuantumCircuit(6)
    encoder.h(0)  # still
    encoder.x(1)  # still: turned over, and about its own axis
    encoder.rz(x[0], 1)
    encoder.h(2)  # a great circle, seen through fixed gates
    encoder.s(2)
    encoder.rx(x[1], 2)
    encoder.h(2)
    encoder.rz(-2 * x[2], 2)
    encoder.t(2)
    encoder.ry(0.4, 3)  # a small circle
    encoder.rz(x[3], 3)
    encoder.rz(x[4] + 0.3, 3)
    encoder.ry(x[5], 4)  # anywhere, angles that are not affine
    encoder.rx(x[6] * x[6], 4)
    encoder.x(5)  # the axis is turned round, then rotations cancel
    encoder.ry(x[7], 5)
    encoder.x(5)
    encoder.ry(x[8], 5)
    return QNNCircuit.compose(encoder, qdeq_ansatz(6), z_readout(6))


def still():
    """No input moves anything."""
    x = ParameterVector("x", 2)
    encoder = QuantumCircuit(2)
    encoder.rz(x[0], 0)
    encoder.rz(x[1], 1)
    return QNNCircuit.compose(encoder, random_layer(2), z_readout(2))


CUT = {f"{n} qubits": (lambda n=n: qdeq(n, ryzxy_gates(n))) for n in (2, 4, 6)} | {"Pauli sums": pauli_sums}
FORMS = {
    "one RY a wire": lambda: qdeq(4, [("ry", wire) for wire in range(4)]),
    "RX and RZ": lambda: qdeq(4, [(axis, wire) for axis in ("rx", "rx") for wire in range(3)]),
    "odd wires": odd_wires,
    "still": still,
    "ryzxy": lambda: qdeq(4, ryzxy_gates(4)),
}


def layer_of(qnn, **options):
    torch.manual_seed(3)
    return ExactLayer(qnn, precision="double", **options)


def point_of(layer, batch=4):
    features = layer.qnn.num_features
    lift = nearest_lift(features, min(layer.qnn.num_outputs, features)).to(layer.dtype)
    return torch.randn(batch, features, dtype=layer.dtype), lift, torch.randn(batch, lift.shape[1], dtype=layer.dtype)


def gate_by_gate(qnn):
    """q(v) by the slow evolution of every state through the circuit as it was given."""
    program = program_of(qnn.circuit, [*qnn.input_parameters, *qnn.weight_parameters])
    angles, readout = program.angle_map.compile(), Readout(qnn.observables)

    def value(v, weight):
        start = torch.zeros(len(v), 2**qnn.num_qubits, dtype=torch.complex128)
        start[:, 0] = 1
        return readout.expectations(evolve(program, angles(torch.cat((v, weight.expand(len(v), -1)), dim=1)), start))

    return value


def everything(value, x, lift, w, weight):
    """q, ∂q/∂w, and the gradients of a function of both, by autograd alone."""

    def outputs(point):
        return value(x + point @ lift.T, weight)

    point = w.clone().requires_grad_()
    found = outputs(point)
    rows = [torch.autograd.grad(column.sum(), point, create_graph=True)[0] for column in found.T]
    jacobian = torch.stack(rows, dim=1)
    return found, jacobian, *torch.autograd.grad(found.sin().sum() + jacobian.square().sum(), [weight, x])


def everything_of(bound, layer, x, w):
    value, jacobian = bound.value_and_jacobian(w)
    return value, jacobian, *torch.autograd.grad(value.sin().sum() + jacobian.square().sum(), [layer.weight, x])


def map_with(layer, way, x, lift):
    angles = layer.parts.suffix.angle_map.compile()(layer.weight)
    return layer._product.map_of(way, layer._product.build(way, angles), x, lift)


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("share", [0, 0.6, 1])
def test_every_cut_has_the_values_jacobians_and_gradients_of_the_gates_one_by_one(name, share):
    layer = layer_of(CUT[name]())
    x, lift, w = point_of(layer)
    x.requires_grad_()
    parts, observables = layer.parts, layer.qnn.observables
    place = round(share * len(parts.suffix.operations))
    cut = cut_at(parts.suffix, layer._product._form.supports, place)
    assert sorted(wire for group in cut.groups for wire in group.wires) == list(range(layer.qnn.num_qubits))
    assert sorted(output for cone in cut.cones for output in cone.outputs) == list(range(len(observables)))
    states = WireStates(parts.prefix, layer.qnn.num_inputs, device=layer.device, dtype=layer.dtype)
    block = CutBlock(cut, states, observables, device=layer.device, dtype=layer.dtype)
    angles = parts.suffix.angle_map.compile()(layer.weight)
    bound = ProductMap(block.block(angles), x, lift, block, MapCost())
    expected = everything(gate_by_gate(layer.qnn), x, lift, w, layer.weight)
    for one, other in zip(everything_of(bound, layer, x, w), expected, strict=True):
        assert (one - other).abs().max() < 1e-10
    assert (bound.value(w) - expected[0]).abs().max() < 1e-12


def test_second_derivatives_through_a_cut_are_those_of_the_operators():
    layer = layer_of(qdeq(3, ryzxy_gates(3)))
    x, lift, w = point_of(layer, batch=2)
    x.requires_grad_()

    def second(way):
        first = everything_of_with_graph(map_with(layer, way, x, lift), [layer.weight, x], w)
        return torch.autograd.grad(sum(part.sin().sum() for part in first), [layer.weight, x])

    for one, other in zip(second("cut"), second("operators"), strict=True):
        assert (one - other).abs().max() < 1e-10


def everything_of_with_graph(bound, leaves, w):
    value, jacobian = bound.value_and_jacobian(w)
    return torch.autograd.grad(value.sin().sum() + jacobian.square().sum(), leaves, create_graph=True)


@pytest.mark.parametrize("recorded", [2**22, 0])
def test_a_batch_in_parts_has_the_values_and_derivatives_of_the_whole(recorded, monkeypatch):
    layer = layer_of(qdeq(4, ryzxy_gates(4)))
    x, lift, w = point_of(layer, batch=7)
    x.requires_grad_()
    whole = everything_of(map_with(layer, "cut", x, lift), layer, x, w)
    monkeypatch.setattr(cut_block, "MOST_SAMPLES", 3)
    monkeypatch.setattr(cut_block, "MOST_RECORDED", recorded)
    for one, other in zip(everything_of(map_with(layer, "cut", x, lift), layer, x, w), whole, strict=True):
        assert (one - other).abs().max() < 1e-12


def test_no_samples_have_values_and_gradients_of_zero():
    layer = layer_of(qdeq(6, ryzxy_gates(6)))
    x, lift, w = point_of(layer, batch=0)
    value, jacobian = map_with(layer, "cut", x, lift).value_and_jacobian(w)
    assert value.shape == (0, 6)
    assert jacobian.shape == (0, 6, 6)
    (gradient,) = torch.autograd.grad(value.sum() + jacobian.sum(), layer.weight)
    assert not gradient.any()


def test_single_precision_agrees_with_double():
    double = layer_of(qdeq(6, ryzxy_gates(6)))
    single = ExactLayer(double.qnn, weight=torch.nn.Parameter(double.weight.detach().float()))
    x, lift, w = point_of(double)
    of_single = map_with(single, "cut", x.float(), lift.float()).value_and_jacobian(w.float())
    for one, other in zip(of_single, map_with(double, "cut", x, lift).value_and_jacobian(w), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).abs().max() < 1e-5


@pytest.mark.parametrize("name", FORMS)
def test_encoders_in_their_simplest_form_are_those_that_were_given(name):
    qnn = FORMS[name]()
    layer = layer_of(qnn)
    x, lift, w = point_of(layer)
    x.requires_grad_()
    expected = everything(gate_by_gate(qnn), x, lift, w, layer.weight)
    for way in ("operators", "states", "cut"):
        bound = map_with(layer, way, x, lift)
        value, jacobian = bound.value_and_jacobian(w)
        loss = value.sin().sum() + jacobian.square().sum()
        found = (value, jacobian, *torch.autograd.grad(loss, [layer.weight, x], materialize_grads=True))
        for one, other in zip(found, expected, strict=True):
            assert (one - other).abs().max() < 1e-10
        assert (bound.value(w) - expected[0]).abs().max() < 1e-12


def form_of(qnn):
    parts = factorise(qnn.circuit, qnn.input_parameters, qnn.weight_parameters, wide_products=True)
    return product_form(parts, qnn.observables)


def test_wires_that_no_input_moves_and_turns_about_one_axis_are_found():
    form = form_of(odd_wires())
    assert form.parts.prefix.num_qubits == 4
    assert form.parts.num_columns == 16
    assert not form.real
    turns = [[each.name for each in form.parts.prefix.slots if each.wires == (wire,)] for wire in range(4)]
    assert turns == [["ry"], ["rz"], ["ry", "rx"], ["ry"]]


def test_the_encoder_of_the_papers_code_is_seven_angles_in_real_states():
    form = form_of(qdeq(10, paper10_gates()))
    assert form.real
    assert form.parts.num_columns == 128
    assert [each.name for each in form.parts.prefix.operations] == ["ry"] * 7
    layer = ExactLayer(qdeq(10, paper10_gates()))
    assert isinstance(layer.bind(torch.zeros(256, 100), nearest_lift(100, 10)).outputs, CircleEncoder)
    assert layer.operators().shape == (10, 3**7)


def test_encoders_that_are_simple_already_are_left_as_they_are():
    qnn = qdeq(6, ryzxy_gates(6))
    parts = factorise(qnn.circuit, qnn.input_parameters, qnn.weight_parameters)
    form = product_form(parts, qnn.observables)
    assert form.parts is parts
    assert form.observables == tuple(qnn.observables)


@pytest.mark.parametrize("gates", [paper10_gates(), alternating_gates(10, 10)], ids=["paper10", "alternating"])
def test_ten_qubits_have_the_values_of_qiskits_statevectors(gates):
    qnn = qdeq(10, gates)
    layer = layer_of(qnn)
    x = torch.randn(2, 100, dtype=torch.float64)
    lift = nearest_lift(100, 10).double()
    found = {layer.bind(x, lift).outputs.__class__: layer.bind(x, lift).value(x.new_zeros(2, 10)).detach()}
    found[None] = layer(x).detach()
    for index, features in enumerate(x.numpy()):
        parameters = [*qnn.input_parameters, *qnn.weight_parameters]
        given = dict(zip(parameters, [*features, *layer.weight.detach().numpy()], strict=True))
        state = Statevector(qnn.circuit.assign_parameters(given))
        expected = [state.expectation_value(observable).real for observable in qnn.observables]
        for values in found.values():
            assert np.abs(values[index].numpy() - expected).max() < 1e-10


@pytest.mark.parametrize("gates", [paper10_gates(), alternating_gates(10, 10)], ids=["paper10", "alternating"])
def test_a_training_step_of_ten_qubits_has_the_gradients_of_states(gates):
    layer = layer_of(qdeq(10, gates))
    x, lift, w = point_of(layer, batch=2)
    bound = layer.bind(x, lift)
    assert isinstance(bound.outputs, CutBlock | EncodedBlock | CircleEncoder)
    found = []
    for some in (bound, map_with(layer, "cut", x, lift), map_with(layer, "states", x, lift)):
        value, jacobian = some.value_and_jacobian(w)
        loss = value.sin().sum() + jacobian.square().sum()
        found.append((value, jacobian, *torch.autograd.grad(loss, layer.weight)))
    for some in found[1:]:
        for one, other in zip(some, found[0], strict=True):
            assert (one - other).abs().max() < 1e-10


def test_a_cut_makes_training_steps_of_ten_qubits_cheaper():
    layer = ExactLayer(qdeq(10, alternating_gates(10, 10)))
    assert isinstance(layer.bind(torch.zeros(256, 100), nearest_lift(100, 10)).outputs, CutBlock)
    cut = best_cut(layer.parts.suffix, layer._product._form.supports)
    everything_late, everything_early = (cut_at(layer.parts.suffix, layer._product._form.supports, k) for k in (0, 78))
    assert cut.jacobian < everything_early.jacobian / 4
    assert cut.build < everything_late.build / 100


def test_a_deep_circuit_is_not_cut():
    ansatz = efficient_su2(8, reps=6)
    layer = ExactLayer(QNNCircuit.compose(angle_encoder(8, ryzxy_gates(8)), ansatz, z_readout(8)))
    assert layer._product.way(256, SOLVE, gradient=True) != "cut"


def test_few_samples_of_six_qubits_are_solved_by_operators_unless_weights_learn():
    # Measured: 3.4 ms against 3.7 ms without a gradient, 5.6 ms against 5.3 ms with one.
    choice = ProductChoice(6, num_outputs=6, factor_rows=64)
    assert choice.way(4, SOLVE, gradient=False) == "operators"
    assert choice.way(4, SOLVE, gradient=True) == "states"
    assert choice.way(4, ONE_VALUE, gradient=False) == "states"
