"""The QNNCircuit: what it takes, what it refuses, and that nobody can change it."""

import copy
import pickle
import re

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import real_amplitudes
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.transpiler import CouplingMap, Target

from qdeq_qiskit.circuits import (
    QNNCircuit,
    amplitude_angles,
    amplitude_encoder,
    angle_encoder,
    qdeq_ansatz,
    ryzxy_gates,
    z_readout,
)


def small_circuit():
    x, t = Parameter("x"), Parameter("t")
    return small_circuit_with(x, t), x, t


def small_circuit_with(x, t):
    circuit = QuantumCircuit(2)
    circuit.ry(x, 0)
    circuit.cx(0, 1)
    circuit.rx(t, 1)
    return circuit


def small_qnn(**options):
    circuit, x, t = small_circuit()
    return QNNCircuit(circuit, [x], [t], z_readout(2), **options)


def test_it_tells_its_sizes():
    qnn = QNNCircuit.compose(amplitude_encoder(4, 13), qdeq_ansatz(4), z_readout(4)[:3], num_amplitudes=13)
    sizes = (qnn.num_qubits, qnn.num_inputs, qnn.num_weights, qnn.num_outputs, qnn.num_features)
    assert sizes == (4, 15, 39, 3, 13)
    assert repr(qnn) == "QNNCircuit(4 qubits, 13 amplitudes, 39 weights, 3 outputs)"


def test_the_encoder_comes_before_the_ansatz():
    encoder, ansatz = angle_encoder(2, ryzxy_gates(2)), real_amplitudes(2, reps=1)
    qnn = QNNCircuit.compose(encoder, ansatz, z_readout(2))
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=8), rng.normal(size=4)
    values = dict(zip(qnn.input_parameters, x, strict=True)) | dict(zip(qnn.weight_parameters, weights, strict=True))
    expected = Statevector(encoder.assign_parameters(x)).evolve(ansatz.assign_parameters(weights))
    assert Statevector(qnn.circuit.assign_parameters(values)) == expected


def test_features_are_the_inputs_unless_they_are_amplitudes():
    features = np.random.default_rng(0).normal(size=(5, 8))
    angle = QNNCircuit.compose(angle_encoder(2, ryzxy_gates(2)), real_amplitudes(2), z_readout(2))
    np.testing.assert_array_equal(angle.input_values(features), features)
    amplitude = QNNCircuit.compose(amplitude_encoder(3), real_amplitudes(3), z_readout(3), num_amplitudes=8)
    np.testing.assert_array_equal(amplitude.input_values(features), amplitude_angles(features, 3))


@pytest.mark.parametrize("shape", [(5, 7), (2, 5, 8), ()])
def test_features_of_the_wrong_shape_are_refused(shape):
    qnn = QNNCircuit.compose(amplitude_encoder(3), real_amplitudes(3), z_readout(3), num_amplitudes=8)
    with pytest.raises(ValueError, match=re.escape(f"features must have shape (B, 8) or (8,), not {shape}")):
        qnn.input_values(np.ones(shape))


def test_nothing_done_to_what_went_in_or_came_out_changes_it():
    circuit, x, t = small_circuit()
    observables = list(z_readout(2))
    groups = {"all": [0]}
    qnn = QNNCircuit(circuit, [x], [t], observables, weight_groups=groups)
    circuit.h(0)
    qnn.circuit.h(0)
    observables[0].coeffs[0] = 5
    qnn.observables[0].coeffs[0] = 5
    groups["all"].append(1)
    assert qnn.circuit == small_circuit_with(x, t)
    assert list(qnn.observables) == list(z_readout(2))
    assert qnn.weight_groups == {"all": (0,)}
    with pytest.raises(AttributeError):
        qnn.circuit = circuit
    with pytest.raises(TypeError):
        qnn.weight_groups["all"] = ()


def test_it_survives_pickling_and_is_its_own_copy():
    qnn = small_qnn(weight_groups={"t": (0,)})
    assert copy.deepcopy(qnn) is copy.copy(qnn) is qnn
    again = pickle.loads(pickle.dumps(qnn))
    assert again.circuit == qnn.circuit
    assert again.input_parameters == qnn.input_parameters
    assert again.observables == qnn.observables
    assert again.weight_groups == qnn.weight_groups


def test_weights_are_one_group_unless_told_otherwise():
    assert small_qnn().weight_groups == {"ansatz": (0,)}


def test_a_circuit_without_weights_is_allowed():
    circuit = angle_encoder(2, [("rx", 0)])
    qnn = QNNCircuit(circuit, circuit.parameters, [], z_readout(2))
    assert qnn.num_weights == 0


def test_a_circuit_wrapped_into_one_instruction_is_as_good_as_its_gates():
    inner, x, t = small_circuit()
    inner.barrier()
    wrapped = QuantumCircuit(2)
    wrapped.append(inner.to_instruction(), [0, 1])
    assert QNNCircuit(wrapped, [x], [t], z_readout(2)).num_weights == 1


def spoilt(spoil):
    circuit, x, t = small_circuit()
    spoil(circuit)
    return {"circuit": circuit, "input_parameters": [x], "weight_parameters": [t]}


def measured_inside(circuit):
    inner = QuantumCircuit(2, 2)
    inner.measure(0, 0)
    circuit.add_bits(inner.clbits)
    circuit.append(inner.to_instruction(), [0, 1], inner.clbits)


def conditional(circuit):
    circuit.add_bits(QuantumCircuit(0, 1).clbits)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.measure_all(), "contains a measurement"),
        (measured_inside, "contains a measurement"),
        (lambda c: c.reset(0), "'reset', which is not a unitary gate"),
        (lambda c: c.initialize([1, 0], 0), "'reset', which is not a unitary gate"),
        (conditional, "'if_else', which is not a unitary gate"),
        (lambda c: c.rx(Parameter("a"), 0), "the circuit's parameters a are neither inputs nor weights"),
    ],
)
def test_circuits_that_cannot_be_evaluated_are_refused(spoil, message):
    with pytest.raises(ValueError, match=message):
        QNNCircuit(**spoilt(spoil), observables=z_readout(2))


def test_parameters_that_do_not_fit_are_refused():
    circuit, x, t = small_circuit()
    stranger = Parameter("stranger")
    for inputs, weights, message in [
        ([x], [x, t], "x cannot be both input and weight"),
        ([x], [], "parameters t are neither inputs nor weights"),
        ([x, stranger], [t], "stranger are listed as inputs or weights, but do not occur in the circuit"),
        ([x, x], [t], "input_parameters lists x more than once"),
        ([], [x, t], "input_parameters is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            QNNCircuit(circuit, inputs, weights, z_readout(2))
    with pytest.raises(TypeError, match="input_parameters must hold Parameters, not 'x'"):
        QNNCircuit(circuit, ["x"], [t], z_readout(2))


@pytest.mark.parametrize(
    ("observables", "error", "message"),
    [
        ([], ValueError, "observables is empty"),
        (z_readout(3), ValueError, "observable 0 acts on 3 qubits, the circuit has 2"),
        ([SparsePauliOp(["ZZ", "XX"], [1, 1j])], ValueError, "observable 0 is not Hermitian"),
        ([SparsePauliOp(["ZZ"], [np.nan])], ValueError, "not finite"),
        ([SparsePauliOp(["ZZ"], np.array([Parameter("a")]))], ValueError, "parameters in its coefficients"),
        (SparsePauliOp("ZZ"), TypeError, "a sequence of SparsePauliOp, not a single one"),
        (["ZZ"], TypeError, "observable 0 must be a SparsePauliOp, not str"),
    ],
)
def test_observables_that_do_not_fit_are_refused(observables, error, message):
    circuit, x, t = small_circuit()
    with pytest.raises(error, match=message):
        QNNCircuit(circuit, [x], [t], observables)


def test_imaginary_parts_that_cancel_are_no_offence():
    circuit, x, t = small_circuit()
    assert QNNCircuit(circuit, [x], [t], [SparsePauliOp(["ZZ", "ZZ"], [1 + 1j, -1j])]).num_outputs == 1


@pytest.mark.parametrize("groups", [{"a": (0, 1)}, {}, {"a": (0,), "b": (0,)}])
def test_groups_that_are_not_all_the_weights_once_are_refused(groups):
    with pytest.raises(ValueError, match="weight_groups must hold each weight index from 0 to 0 exactly once"):
        small_qnn(weight_groups=groups)


def test_a_number_of_amplitudes_that_does_not_match_the_inputs_is_refused():
    with pytest.raises(ValueError, match="num_amplitudes=4 means 3 input parameters"):
        small_qnn(num_amplitudes=4)
    with pytest.raises(ValueError, match="2 qubits hold 2 to 4 amplitudes"):
        small_qnn(num_amplitudes=5)


def test_an_encoder_and_an_ansatz_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="the encoder has 3 qubits, the ansatz 4"):
        QNNCircuit.compose(amplitude_encoder(3), qdeq_ansatz(4), z_readout(3))
    with pytest.raises(ValueError, match=r"both have parameters named θ\[0\], .* and 7 more; rename"):
        QNNCircuit.compose(real_amplitudes(3), real_amplitudes(3), z_readout(3))


def test_it_draws_itself_as_text():
    drawing = str(small_qnn().draw())
    assert "Ry(x)" in drawing
    assert "Rx(t)" in drawing


def test_it_draws_itself_with_matplotlib():
    pytest.importorskip("pylatexenc", reason="Qiskit's matplotlib drawings need the package pylatexenc")
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    from matplotlib.figure import Figure

    assert isinstance(small_qnn().draw("mpl"), Figure)


def test_it_counts_what_is_written():
    circuit, x, t = small_circuit()
    circuit.barrier()
    circuit.cx(0, 1)
    resources = QNNCircuit(circuit, [x], [t], z_readout(2)).resources()
    assert (resources.depth, resources.two_qubit_depth, resources.two_qubit_gates) == (4, 2, 2)
    assert resources.gates == {"cx": 2, "rx": 1, "ry": 1}
    assert (resources.num_inputs, resources.num_weights) == (1, 1)


def test_it_counts_what_a_target_makes_of_it():
    """On a line 0 - 1 - 2, a CZ between the ends needs at least one swap, so more than one CZ."""
    x = Parameter("x")
    circuit = QuantumCircuit(3)
    circuit.ry(x, 0)
    circuit.cz(0, 1)
    circuit.cz(1, 2)
    circuit.cz(0, 2)
    qnn = QNNCircuit(circuit, [x], [], z_readout(3))
    basis = ["rz", "sx", "x", "cz"]
    line = Target.from_configuration(basis, num_qubits=3, coupling_map=CouplingMap.from_line(3))
    triangle = Target.from_configuration(basis, num_qubits=3, coupling_map=CouplingMap.from_full(3))
    assert qnn.resources(triangle).two_qubit_gates == 3
    assert qnn.resources(line).two_qubit_gates > 3
    assert set(qnn.resources(line).gates) <= set(basis)
    assert qnn.resources(line) == qnn.resources(line)


def test_a_target_that_is_too_small_is_refused():
    target = Target.from_configuration(["rz", "sx", "cz"], num_qubits=1)
    with pytest.raises(ValueError, match="the circuit has 2 qubits, the target only 1"):
        small_qnn().resources(target)


def by_hand(encoder, ansatz, layers, inputs, weights, observables):
    """Expectation values of one encoding and so many ansätze, by Qiskit's statevectors."""
    state = Statevector.from_label("0" * encoder.num_qubits)
    state = state.evolve(encoder.assign_parameters(inputs))
    for _ in range(layers):
        state = state.evolve(ansatz.assign_parameters(weights))
    return [state.expectation_value(observable).real for observable in observables]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_repeated_circuit_encodes_once_and_shares_its_weights(layers):
    encoder, ansatz = amplitude_encoder(4, 11), qdeq_ansatz(4)
    qnn = QNNCircuit.compose(
        encoder, ansatz, z_readout(4), num_amplitudes=11, weight_groups={"a": range(30), "b": range(30, 39)}
    )
    deep = qnn.repeated(layers)
    rng = np.random.default_rng(layers)
    features, weights = rng.normal(size=11), rng.uniform(-3, 3, qnn.num_weights)
    values = dict(zip(deep.input_parameters, deep.input_values(features), strict=True))
    values |= dict(zip(deep.weight_parameters, weights, strict=True))
    state = Statevector(deep.circuit.assign_parameters(values))
    found = [state.expectation_value(observable).real for observable in deep.observables]
    expected = by_hand(encoder, ansatz, layers, amplitude_angles(features, 4), weights, z_readout(4))
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert deep.weight_groups == qnn.weight_groups
    assert deep.weight_parameters == qnn.weight_parameters
    assert deep.num_amplitudes == 11
    assert qnn.circuit == qnn.repeated(1).circuit


def test_a_repeated_circuit_can_be_repeated_pickled_and_keeps_the_encoders_own_fixed_gates():
    x, t = Parameter("x"), Parameter("t")
    encoder, ansatz = QuantumCircuit(2), QuantumCircuit(2)
    encoder.ry(x, 0)
    encoder.cx(0, 1)
    ansatz.rx(t, 0)
    qnn = QNNCircuit.compose(encoder, ansatz, [SparsePauliOp("ZZ")])
    assert qnn.repeated(3).circuit.count_ops() == {"ry": 1, "cx": 1, "rx": 3}
    assert qnn.repeated(1).repeated(2).circuit == qnn.repeated(2).circuit
    assert pickle.loads(pickle.dumps(qnn)).repeated(2).circuit.count_ops() == {"ry": 1, "cx": 1, "rx": 2}


def test_a_bare_circuit_is_split_after_its_last_input():
    circuit, x, t = small_circuit()
    deep = QNNCircuit(circuit, [x], [t], [SparsePauliOp("ZI")]).repeated(3)
    assert [instruction.operation.name for instruction in deep.circuit.data] == ["ry", *(["cx", "rx"] * 3)]


def test_a_circuit_that_does_not_split_and_a_wrong_number_of_layers_are_refused():
    x, t = Parameter("x"), Parameter("t")
    circuit = QuantumCircuit(1)
    circuit.rx(t, 0)
    circuit.ry(x, 0)
    mixed = QuantumCircuit(1)
    mixed.rx(x + t, 0)
    for bad in (circuit, mixed):
        with pytest.raises(ValueError, match=r"weights in its instruction 0 \(rx\), before its last input in"):
            QNNCircuit(bad, [x], [t], [SparsePauliOp("Z")]).repeated(2)
    for layers in (0, -1, 1.5):
        with pytest.raises(ValueError, match=f"layers must be an integer, at least 1; it is {layers}"):
            small_qnn().repeated(layers)
