"""Compiled circuits, against the source circuit in Qiskit's Statevector and a plain transpilation."""

import pickle
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, ParameterVector
from qiskit.circuit.library import CXGate, CZGate
from qiskit.quantum_info import DensityMatrix, Operator, Pauli, SparsePauliOp, Statevector
from qiskit.transpiler import CouplingMap, Target, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.fake_provider import FakeManilaV2, FakeTorino

from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.evolution import evolve
from qdeq_qiskit.backends.placement import _PROCESSORS, log_error
from qdeq_qiskit.circuits import CircuitRecipe, QNNCircuit
from qdeq_qiskit.noise import NoiseRecipe, fake_backends


def recipe(kind, n=4, readout=None, ansatz=None):
    encoder = (
        {"kind": "amplitude", "num_amplitudes": 2**n} if kind == "amplitude" else {"kind": "angle", "preset": "ryzxy"}
    )
    parts = {"num_qubits": n, "encoder": encoder, "ansatz": ansatz or {"kind": "qdeq"}}
    return CircuitRecipe.model_validate({**parts, **({"readout": readout} if readout else {})}).build()


def reuploading(n=3):
    x, w = ParameterVector("x", n), ParameterVector("w", 2 * n)
    circuit = QuantumCircuit(n)
    for layer in range(2):
        for i in range(n):
            circuit.rx(2 * x[i] + w[i], i)
            circuit.p(w[n + i], i)
        circuit.cx(0, 2)
        circuit.crx(w[layer], 2, 1)
    circuit.swap(0, 1)
    for i in range(n):
        circuit.ry(w[n + i] - w[i], i)
    observables = [SparsePauliOp("XIZ"), SparsePauliOp(["YYI", "IIZ"], [0.5, -1.5])]
    return QNNCircuit(circuit, x, w, observables)


def wide():
    """Every pair of five wires is coupled: routing must move them on any processor."""
    x, w = ParameterVector("x", 5), ParameterVector("w", 10)
    circuit = QuantumCircuit(5)
    for i in range(5):
        circuit.ry(x[i], i)
    for i, (a, b) in enumerate(combinations(range(5), 2)):
        circuit.rzz(w[i], a, b)
        circuit.rx(w[i], a)
    return QNNCircuit(circuit, x, w, [SparsePauliOp("IXIYZ"), SparsePauliOp("ZIIII")])


def mixed_readout():
    return {"kind": "paulis", "observables": ["XIIY", "ZZII", "IYXI"]}


CIRCUITS = {
    "amplitude": lambda: recipe("amplitude"),
    "angle": lambda: recipe("angle"),
    "X and Y observables": lambda: recipe("angle", readout=mixed_readout()),
    "re-uploading": reuploading,
    "all coupled": wide,
}
PLACES = {
    "own gates": lambda: {},
    "basis gates": lambda: {"basis_gates": ["rz", "sx", "x", "cz"]},
    "basis gates with p": lambda: {"basis_gates": ["p", "sx", "x", "cx"], "optimization_level": 1},
    "manila": lambda: {"target": FakeManilaV2()},
    "manila, waiting": lambda: {"target": FakeManilaV2(), "idle": True},
    "heron": lambda: {"target": torino()},
    "heron, waiting": lambda: {"target": torino(), "idle": True},
    "line": lambda: {"target": line(7), "seed": 3},
}


@cache
def torino():
    return FakeTorino().target


def line(n):
    return Target.from_configuration(["rz", "sx", "x", "cx"], num_qubits=n, coupling_map=CouplingMap.from_line(n))


def random_rows(qnn, rows, seed=0):
    values = np.random.default_rng(seed).uniform(-3, 3, (rows, qnn.num_inputs + qnn.num_weights))
    return torch.as_tensor(values)


def source_expectations(qnn, row):
    parameters = dict(zip([*qnn.input_parameters, *qnn.weight_parameters], row.tolist(), strict=True))
    state = Statevector(qnn.circuit.assign_parameters(parameters))
    return [state.expectation_value(observable).real for observable in qnn.observables]


def in_order(circuit, angles):
    """Parameters by their index: Qiskit sorts a vector's elements so."""
    return circuit.assign_parameters(angles)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", CIRCUITS)
def test_a_compiled_circuit_has_the_expectations_of_its_source(name, place):
    qnn = CIRCUITS[name]()
    compiled = compile_circuit(qnn, **PLACES[place]())
    rows = random_rows(qnn, 2)
    angles = compiled.angles(compiled.source.angle_map.compile()(rows))
    for row, native in zip(rows, angles.numpy(), strict=True):
        state = Statevector(in_order(compiled.circuit, native))
        values = [state.expectation_value(observable).real for observable in compiled.observables]
        assert np.allclose(values, source_expectations(qnn, row), rtol=0, atol=1e-10)
    # The two programs are the same circuit, cut at its barrier, and act on the same angles.
    slot_angles = compiled.source.angle_map.compile()(rows)
    zero = torch.zeros(1, 2**compiled.num_qubits, dtype=torch.complex128)
    zero[:, 0] = 1
    for k in range(len(rows)):
        half = evolve(compiled.prefix, compiled.prefix.angle_map.compile()(slot_angles[k]), zero)
        whole = evolve(compiled.suffix, compiled.suffix.angle_map.compile()(slot_angles[k]), half).flatten()
        expected = Statevector(in_order(compiled.circuit, angles[k].numpy())).reverse_qargs().data
        assert abs(np.vdot(expected, whole.numpy())) == pytest.approx(1, abs=1e-10)
    prefix_length = [i.operation.name for i in compiled.circuit.data].index("barrier")
    names = [i.operation.name for i in compiled.circuit.data if i.operation.name != "barrier"]
    assert [o.name for o in (*compiled.prefix.operations, *compiled.suffix.operations)] == names
    assert len(compiled.prefix.operations) == prefix_length


@pytest.mark.parametrize("place", ["manila", "heron", "line"])
@pytest.mark.parametrize("name", CIRCUITS)
def test_a_compiled_circuit_is_one_for_its_target(name, place):
    compiled = compile_circuit(CIRCUITS[name](), **PLACES[place]())
    assert compiled.target.num_qubits == compiled.num_qubits == len(compiled.physical)
    for gate, qubits in compiled.gates():
        assert compiled.target.instruction_supported(gate, qubits)
    whole = PLACES[place]()["target"]
    whole = getattr(whole, "target", whole)
    for gate, qubits in compiled.gates():
        on_processor = tuple(compiled.physical[q] for q in qubits)
        assert repr(compiled.target[gate][qubits]) == repr(whole[gate][on_processor])
    if whole.qubit_properties is not None:
        kept = [(properties.t1, properties.t2) for properties in compiled.target.qubit_properties]
        assert kept == [(whole.qubit_properties[q].t1, whole.qubit_properties[q].t2) for q in compiled.physical]
    assert all(type(p).__name__ == "ParameterVectorElement" for p in compiled.circuit.parameters)
    for instruction in compiled.circuit.data:
        for value in instruction.operation.params:
            assert isinstance(value, float) or value in set(compiled.circuit.parameters)


def test_inputs_and_weights_share_no_angle_of_the_compiled_circuit():
    qnn = recipe("angle")
    compiled = compile_circuit(qnn, target=torino())
    by_input = [bool(e.parameters & set(qnn.input_parameters)) for e in compiled.source.angle_map.expressions]
    cut = compiled.prefix.num_slots
    assert not compiled.matrix[:cut][:, ~np.array(by_input)].any()
    assert not compiled.matrix[cut:][:, by_input].any()


@pytest.mark.parametrize("name", CIRCUITS)
@pytest.mark.parametrize("place", ["manila", "heron"])
def test_two_qubit_gates_are_hardly_more_than_those_of_a_plain_transpilation(name, place):
    qnn = CIRCUITS[name]()
    target = getattr(PLACES[place]()["target"], "target", PLACES[place]()["target"])
    compiled = compile_circuit(qnn, target=target, seed=5)
    plain = generate_preset_pass_manager(3, target=target, seed_transpiler=5).run(qnn.circuit)
    count = sum(len(i.qubits) == 2 for i in compiled.circuit.data if i.operation.name != "barrier")
    assert count <= 1.1 * plain.num_nonlocal_gates() + 1


def test_the_layout_is_at_least_as_good_as_that_of_one_transpilation():
    qnn = recipe("amplitude")
    target = FakeManilaV2().target
    compiled = compile_circuit(qnn, target=target, seed=1)
    plain = generate_preset_pass_manager(3, target=target, seed_transpiler=1).run(compile_circuit(qnn).circuit)
    error = log_error(plain, target, plain.layout.final_index_layout())
    # The error by hand: gates and readout of the compiled circuit on the processor's own numbers.
    product = 1.0
    for gate, qubits in [
        (i.operation.name, [compiled.circuit.find_bit(q).index for q in i.qubits]) for i in compiled.circuit
    ]:
        if gate != "barrier":
            product *= 1 - target[gate][tuple(compiled.physical[q] for q in qubits)].error
    ends = [np.flatnonzero(o.paulis.x[0] | o.paulis.z[0])[0] for o in compiled.observables]
    for end in ends:
        product *= 1 - target["measure"][(compiled.physical[end],)].error
    assert compiled.estimated_fidelity == pytest.approx(product)
    assert compiled.estimated_fidelity >= np.exp(-error) - 1e-12


def test_waiting_wires_have_delays_that_fill_the_schedule():
    compiled = compile_circuit(recipe("amplitude"), target=torino(), idle=True)
    length = np.zeros(compiled.num_qubits)
    delays = 0
    for operation in (*compiled.prefix.operations, *compiled.suffix.operations):
        if operation.name == "delay":
            assert operation.duration > 0
            assert np.array_equal(operation.matrix, np.eye(2))
            delays += 1
            duration = operation.duration
        else:
            duration = compiled.target[operation.name][operation.qubits].duration
            # Gates on two wires start together.
            assert np.ptp(length[list(operation.qubits)]) < 1e-12
        length[list(operation.qubits)] += duration
    assert delays > 4
    assert np.ptp(length) < 1e-12


def test_without_processor_and_basis_the_gates_are_those_of_the_circuit():
    qnn = reuploading()
    compiled = compile_circuit(qnn)
    assert compiled.circuit.count_ops()["p"] == 6
    assert {name for name, _ in compiled.gates()} == {"rx", "ry", "p", "cx", "crx", "swap"}
    assert compiled.target is None
    assert compiled.physical == (0, 1, 2)
    assert compiled.estimated_fidelity == 1


@pytest.mark.parametrize("place", ["own gates", "basis gates", "manila", "heron"])
def test_a_basis_change_turns_z_into_the_basis_in_native_gates(place):
    compiled = compile_circuit(recipe("angle"), **PLACES[place]())
    label = "YXZI"[: compiled.num_qubits].rjust(compiled.num_qubits, "I")
    change = compiled.basis_change(label)
    unitary = Operator(change)
    for wire in range(4):
        pauli = label[compiled.num_qubits - 1 - wire]
        if pauli == "I":
            continue
        measured = Operator(SparsePauliOp.from_sparse_list([("Z", [wire], 1)], num_qubits=compiled.num_qubits))
        expected = SparsePauliOp.from_sparse_list([(pauli, [wire], 1)], num_qubits=compiled.num_qubits)
        assert np.allclose((unitary.adjoint() @ measured @ unitary).data, expected.to_matrix())
    native = {"own gates": {"h", "sdg"}}.get(place, {"rz", "sx", "x"})
    assert {i.operation.name for i in change.data} <= native
    with pytest.raises(ValueError, match="basis of 2 wires"):
        compiled.basis_change(Pauli("XX"))


def test_angles_are_differentiable_and_follow_the_expressions():
    compiled = compile_circuit(reuploading(), target=torino())
    slots = torch.randn(3, compiled.source.num_slots, dtype=torch.float64, requires_grad=True)
    angles = compiled.angles(slots)
    programs = (compiled.prefix, compiled.suffix)
    apart = torch.cat([program.angle_map.compile()(slots) for program in programs], dim=-1)
    assert torch.allclose(angles, apart, rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(compiled.angles, slots)
    parameters = compiled.prefix.angle_map.parameters
    values = dict(zip(parameters, slots[0].tolist(), strict=True))
    expressions = [e for program in programs for e in program.angle_map.expressions]
    bound = [float(e.bind({p: values[p] for p in e.parameters}).numeric()) for e in expressions]
    assert np.allclose(angles[0].detach().numpy(), bound, rtol=0, atol=1e-13)


def test_one_seed_compiles_the_same_circuit_and_it_can_be_sent_to_another_process():
    first, second = (compile_circuit(recipe("angle"), target=torino(), seed=2) for _ in range(2))
    assert first.physical == second.physical
    assert first.prefix.operations == second.prefix.operations
    copy = pickle.loads(pickle.dumps(first))
    slots = torch.zeros(1, first.source.num_slots, dtype=torch.float64)
    assert torch.equal(copy.angles(slots), first.angles(slots))


def test_too_few_qubits_are_an_error_that_names_both_numbers_and_what_would_do():
    with pytest.raises(ValueError, match=r"needs 6 qubits.*only 5; fake_nairobi"):
        compile_circuit(recipe("amplitude", 6), target=FakeManilaV2())
    sizes = {name: fake_backends()[name]().num_qubits for name in _PROCESSORS}
    assert sizes == _PROCESSORS


def test_gates_with_several_free_angles_are_refused():
    with pytest.raises(ValueError, match=r"parameterised 'u3', which has several angles; choose basis gates"):
        compile_circuit(recipe("angle"), basis_gates=["u3", "cx"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": line(4), "basis_gates": ["rz"]}, "leave out target or basis_gates"),
        ({"idle": True}, "idle=True needs a target"),
        ({"target": line(4), "idle": True}, "no duration for"),
        ({"target": "fake_torino"}, "must be a Target or a BackendV2, not str"),
        ({"optimization_level": 4}, "0, 1, 2 or 3, not 4"),
        ({"basis_gates": ["rz", "sxx", "cz"]}, r"basis_gates: there is no gate 'sxx'; did you mean 'sx\w*'\?"),
        ({"basis_gates": ["rz", "unitary", "cz"]}, r"basis_gates: there is no gate 'unitary'; expected names"),
        ({"basis_gates": "rz"}, "must be a list of names, such as .* not 'rz'"),
    ],
)
def test_contradictory_arguments_are_refused(options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        compile_circuit(recipe("angle"), **options)


def coupled_by(gate):
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    circuit.ry(x[0], 0)
    circuit.ry(x[1], 1)
    circuit.append(gate, [1, 0])
    circuit.ry(w[0], 0)
    circuit.rx(w[1], 1)
    return QNNCircuit(circuit, x, w, [SparsePauliOp("ZI"), SparsePauliOp("ZX")])


@pytest.mark.parametrize("basis_gates", [None, ["rz", "sx", "x", "cx"]])
@pytest.mark.parametrize("gate", [CXGate(label="mine"), CXGate(ctrl_state=0), CZGate(ctrl_state=0)])
def test_aer_finds_the_noise_of_gates_with_labels_and_of_gates_controlled_by_zero(gate, basis_gates):
    qnn = coupled_by(gate)
    compiled = compile_circuit(qnn, basis_gates=basis_gates, optimization_level=0)
    noise = NoiseRecipe(sources=[{"kind": "depolarizing", "two_qubit": 0.3}]).build(compiled)
    row = random_rows(qnn, 1)
    circuit = in_order(compiled.circuit, compiled.angles(compiled.source.angle_map.compile()(row))[0].numpy())
    circuit.save_density_matrix()
    simulator = AerSimulator(method="density_matrix", noise_model=noise.to_aer())
    state = DensityMatrix(simulator.run(circuit).result().data()["density_matrix"])
    values = [state.expectation_value(observable).real for observable in compiled.observables]
    # The one coupling leaves 0.7 of every Pauli, and rotations of one qubit turn what is left.
    expected = 0.7 * np.array(source_expectations(qnn, row[0]))
    assert np.abs(expected).max() > 0.05
    assert np.allclose(values, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("place", ["own gates", "basis gates", "heron", "heron, waiting"])
def test_two_qubit_gates_and_their_layers_are_counted(place):
    compiled = compile_circuit(recipe("amplitude"), **PLACES[place]())
    layers, number = np.zeros(compiled.num_qubits, dtype=int), 0
    for instruction in compiled.circuit.data:
        wires = [compiled.circuit.find_bit(qubit).index for qubit in instruction.qubits]
        if isinstance(instruction.operation, Gate) and len(wires) == 2:
            layers[wires] = layers[wires].max() + 1
            number += 1
    assert compiled.num_two_qubit_gates == number > 5
    assert compiled.two_qubit_depth == layers.max() <= number


@pytest.mark.parametrize(
    "target",
    [
        Target.from_configuration(["rz", "sx", "cx"], num_qubits=4, coupling_map=CouplingMap([[0, 1], [2, 3]])),
        Target.from_configuration(["rz", "x", "cx"], num_qubits=4),
    ],
)
def test_a_processor_that_cannot_run_the_circuit_is_refused_with_what_it_has(target):
    with pytest.raises(ValueError, match=r"needs 4 connected qubits and universal gates.*the processor has .*cx.*rz"):
        compile_circuit(recipe("angle"), target=target)


@pytest.mark.parametrize("basis_gates", [[], ["cx"], ["ry", "cz"]])
def test_basis_gates_that_cannot_express_the_circuit_are_named_with_what_they_cannot(basis_gates):
    with pytest.raises(ValueError, match=r"basis gates .* cannot express the circuit's .*ry.*such as rz, sx, x, cz"):
        compile_circuit(recipe("angle"), basis_gates=basis_gates)
