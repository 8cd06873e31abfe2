"""The exact layer on random circuits, every way of each, against the gates one by one."""

import random

import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qdeq_qiskit.backends.evolution import evolve
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps import AmplitudeStates, AmplitudeStatesMap
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, z_readout
from qdeq_qiskit.equilibrium import MapCost

ROTATIONS = ("rx", "ry", "rz", "p")
PAIRS = ("rxx", "ryy", "rzz", "rzx", "crx", "cry", "crz", "cp")


def random_ansatz(chance, qubits):
    """Few gates, so that wires stay idle; weights that repeat; permutations at the end, or nothing at all."""
    theta = ParameterVector("t", 3)
    circuit = QuantumCircuit(qubits)
    for _ in range(chance.choice([0, qubits, 2 * qubits])):
        weight = chance.choice(theta)
        angle = chance.choice([weight, 2 * weight, weight + 0.3, weight * weight])
        first, second = chance.sample(range(qubits), 2)
        if chance.random() < 0.5:
            getattr(circuit, chance.choice(ROTATIONS))(angle, first)
        else:
            getattr(circuit, chance.choice(PAIRS))(angle, first, second)
        getattr(circuit, chance.choice(["h", "sx", "x"]))(second)
    for _ in range(chance.choice([0, 2])):
        getattr(circuit, chance.choice(["cx", "swap", "cz"]))(*chance.sample(range(qubits), 2))
    return circuit


def random_encoder(chance, qubits):
    """Wires of every kind: idle, turned about one axis, behind fixed gates, by angles that are not affine."""
    x = ParameterVector("x", qubits)
    circuit = QuantumCircuit(qubits)
    for feature in [*x, *chance.choices(x, k=qubits)]:
        wire = chance.randrange(qubits)
        for name in chance.choices(["h", "s", "x", "sx", "t"], k=chance.choice([0, 0, 1])):
            getattr(circuit, name)(wire)
        angle = chance.choice([feature, 2 * feature, feature + 0.3, feature * x[0]])
        getattr(circuit, chance.choice(["ry", "ry", *ROTATIONS]))(angle, wire)
    return circuit


def random_observables(chance, qubits):
    if chance.random() < 0.3:
        return z_readout(qubits)
    letters = chance.choice(["I", "IZ", "IXYZ"])
    labels = [["".join(chance.choices(letters, k=qubits)) for _ in range(1 + k)] for k in range(2)]
    return [SparsePauliOp(some, [chance.uniform(-1, 1) for _ in some]) for some in labels]


def gate_by_gate(qnn, encoder, ansatz):
    """q(v, θ); without an encoder v is normalised."""
    readout = Readout(qnn.observables)
    inputs = [] if encoder is None else qnn.input_parameters
    program = program_of(ansatz if encoder is None else qnn.circuit, [*inputs, *qnn.weight_parameters])
    angles = program.angle_map.compile()

    def value(v, weight):
        values = weight.expand(len(v), -1)
        start = torch.zeros_like(v[:, :1]) + 1
        if encoder is None:
            start = v / torch.linalg.vector_norm(v, dim=1, keepdim=True)
        else:
            values = torch.cat((v, values), dim=1)
        start = torch.nn.functional.pad(start, (0, 2**qnn.num_qubits - start.shape[1])) + 0j
        return readout.expectations(evolve(program, angles(values), start))

    return value


def with_derivatives(function, point, leaves):
    """What a penalty wants: a value with its Jacobian, both their gradients, and the gradient of these."""
    value, jacobian = function(point)
    loss = value.sin().sum() + jacobian.square().sum()
    options = {"allow_unused": True, "materialize_grads": True}
    first = torch.autograd.grad(loss, leaves, create_graph=True, **options) if loss.requires_grad else leaves
    again = sum(part.sin().sum() for part in first)
    return value, jacobian, *first, *torch.autograd.grad(again, leaves, **options)


def by_autograd(value, lift, x, weight):
    def function(w):
        point = w.clone().requires_grad_()
        found = value(x + point @ lift.T, weight)
        rows = [torch.autograd.grad(column.sum(), point, create_graph=True)[0] for column in found.T]
        return found, torch.stack(rows, dim=1)

    return function


def maps_of(layer, x, lift):
    """By the name of the way how to make its map, whether it would be chosen or not."""
    maps = {
        "chosen": lambda: layer.bind(x, lift),
        "usual": lambda: layer.map_of(layer.operators(), layer.weight, x, lift),
    }
    if layer.parts.kind == "amplitude":
        states = AmplitudeStates(layer.engine, layer.readout)
        maps["states"] = lambda: AmplitudeStatesMap(layer.factors(layer.weight), x, lift, states, MapCost())
        return maps
    angles = layer.parts.suffix.angle_map.compile()

    def of_way(way):
        return layer._product.map_of(way, layer._product.build(way, angles(layer.weight)), x, lift)

    return maps | {way: (lambda way=way: of_way(way)) for way in ("operators", "states", "cut")}


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 100))])
def test_every_way_has_the_values_and_derivatives_of_the_gates_one_by_one(seed):
    chance = random.Random(seed)
    qubits, batch = chance.choice([2, 3, 4, 5]), chance.choice([1, 3])
    ansatz, observables = random_ansatz(chance, qubits), random_observables(chance, qubits)
    encoder, amplitudes = (None, chance.randint(2, 2**qubits)) if seed % 2 else (random_encoder(chance, qubits), None)
    first = encoder or amplitude_encoder(qubits, amplitudes)
    qnn = QNNCircuit.compose(first, ansatz, observables, num_amplitudes=amplitudes)
    torch.manual_seed(seed)
    layer = ExactLayer(qnn, engine="torch", precision="double")
    x = torch.randn(batch, qnn.num_features, dtype=torch.float64, requires_grad=True)
    lift = torch.randn(qnn.num_features, 2, dtype=torch.float64) / 2
    w, leaves = torch.randn(batch, 2, dtype=torch.float64), [layer.weight, x]
    slow = gate_by_gate(qnn, encoder, ansatz)
    expected = with_derivatives(by_autograd(slow, lift, x, layer.weight), w, leaves)
    for name, make in maps_of(layer, x, lift).items():
        found = with_derivatives(make().value_and_jacobian, w, leaves)
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one, other, rtol=1e-9, atol=1e-9), name
        for one, other in zip(found[:2], expected, strict=False):
            assert (one - other).abs().max() < 1e-10, name
        assert (make().value(w) - expected[0]).abs().max() < 1e-10, name
        assert make().select(torch.tensor([], dtype=torch.long)).value(w[:0]).shape == (0, len(observables))
    assert (layer(x) - slow(x, layer.weight)).abs().max() < 1e-10


def test_one_state_goes_through_blocks_that_end_in_another_order_of_the_wires():
    ansatz = QuantumCircuit(5)
    ansatz.ry(ParameterVector("t", 1)[0], 0)
    qnn = QNNCircuit.compose(amplitude_encoder(5, 32), ansatz, z_readout(5), num_amplitudes=32)
    layer = ExactLayer(qnn, engine="torch", precision="double")
    states = AmplitudeStates(layer.engine, layer.readout)
    features = torch.randn(1, 32, dtype=torch.float64)
    assert (states.value(features, layer.factors(layer.weight)) - layer(features)).abs().max() < 1e-12


def test_small_fixed_turns_before_an_encoders_rotations_are_kept():
    x = ParameterVector("x", 2)
    encoder = QuantumCircuit(2)
    encoder.ry(1e-7, 0)
    encoder.rz(x[0], 0)
    encoder.ry(x[0], 1)
    encoder.rz(1e-6, 1)
    encoder.ry(x[1], 1)
    qnn = QNNCircuit.compose(encoder, QuantumCircuit(2), [SparsePauliOp("IX"), SparsePauliOp("YI")])
    layer = ExactLayer(qnn, engine="torch", precision="double")
    features = torch.randn(3, 2, dtype=torch.float64)
    slow = gate_by_gate(qnn, encoder, None)
    assert (layer(features) - slow(features, layer.weight)).abs().max() < 1e-14


def test_observables_that_see_no_wire_can_be_carried_back_to_a_cut():
    x = ParameterVector("x", 7)
    encoder = QuantumCircuit(7)
    for wire, feature in enumerate(x):
        encoder.ry(feature, wire)
        encoder.rz(feature, wire)
    layer = ExactLayer(QNNCircuit.compose(encoder, QuantumCircuit(7), [SparsePauliOp("I" * 7, [0.5])]))
    maps = maps_of(layer, torch.randn(2, 7), torch.zeros(7, 1))
    assert (maps["cut"]().value(torch.zeros(2, 1)) - 0.5).abs().max() < 1e-6
