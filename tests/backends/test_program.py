"""Circuits read as gate programs, against Qiskit's own matrices."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterVector
from qiskit.circuit.library import efficient_su2, real_amplitudes, zz_feature_map
from qiskit.quantum_info import Operator

from qdeq_qiskit.backends.engines.blocks import MOST_TERMS, Block, cut_into_blocks, layers
from qdeq_qiskit.backends.evolution import basis_columns, evolve
from qdeq_qiskit.backends.program import AngleMap, program_of


def unitary_by_evolution(circuit, parameters, values):
    program = program_of(circuit, parameters)
    angles = program.angle_map.compile()(torch.as_tensor(values))
    size = 2**circuit.num_qubits
    start = basis_columns(circuit.num_qubits, size, dtype=torch.complex128, device=torch.device("cpu"))
    return evolve(program, angles, start.T).T.numpy()


def distance_up_to_phase(a, b):
    overlap = np.vdot(b, a)
    return np.abs(a - b * overlap / abs(overlap)).max()


def every_gate_circuit():
    t = ParameterVector("t", 4)
    circuit = QuantumCircuit(3)
    circuit.h(0)
    for name in ("rx", "ry", "rz", "p"):
        getattr(circuit, name)(t[0], 1)
    for name in ("rxx", "ryy", "rzz", "rzx", "crx", "cry", "crz", "cp"):
        getattr(circuit, name)(t[1], 2, 0)
        circuit.sx(1)
        circuit.cx(1, 2)
    circuit.u(t[0], t[1], t[2], 0)
    circuit.cu(t[0], t[1], t[2], t[3], 0, 1)
    circuit.crx(2 * t[3] - t[0] * t[1], 1, 0)
    circuit.rx(t[2].sin() + 0.3, 2)
    circuit.crx(t[0], 0, 1, ctrl_state=0)
    circuit.barrier()
    circuit.ccx(2, 0, 1)
    circuit.rx(0.4, 0)
    return circuit, list(t)


@pytest.mark.parametrize("seed", range(3))
def test_every_gate_acts_as_in_qiskit_with_wire_0_most_significant(seed):
    circuit, parameters = every_gate_circuit()
    values = np.random.default_rng(seed).uniform(-4, 4, len(parameters))
    expected = Operator(circuit.assign_parameters(dict(zip(parameters, values, strict=True)))).reverse_qargs().data
    assert distance_up_to_phase(unitary_by_evolution(circuit, parameters, values), expected) < 1e-13


@pytest.mark.parametrize("build", [real_amplitudes, efficient_su2, zz_feature_map])
def test_qiskit_library_circuits_are_read_right(build):
    circuit = build(3, reps=2)
    parameters = list(circuit.parameters)
    values = np.random.default_rng(0).uniform(-4, 4, len(parameters))
    expected = Operator(circuit.assign_parameters(values)).reverse_qargs().data
    assert distance_up_to_phase(unitary_by_evolution(circuit, parameters, values), expected) < 1e-13


def test_a_circuit_wrapped_into_one_instruction_is_unrolled():
    inner, parameters = every_gate_circuit()
    outer = QuantumCircuit(3)
    outer.append(inner.to_instruction(), [2, 0, 1])
    values = np.array([0.1, 0.7, -2.0, 3.0])
    expected = Operator(outer.assign_parameters(dict(zip(parameters, values, strict=True)))).reverse_qargs().data
    assert distance_up_to_phase(unitary_by_evolution(outer, parameters, values), expected) < 1e-13


def test_angles_of_expressions_are_differentiable():
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rx(a * b + a.sin(), 0)
    circuit.rz(a, 0)
    angles = program_of(circuit, [a, b]).angle_map.compile()
    values = torch.tensor([0.3, 0.8], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(angles, values)


def test_a_measurement_is_refused_by_name():
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    with pytest.raises(ValueError, match="'measure'"):
        program_of(circuit, [])


def test_a_parameter_that_is_neither_input_nor_weight_is_refused_by_name():
    theta = Parameter("forgotten")
    circuit = QuantumCircuit(1)
    circuit.rx(theta, 0)
    with pytest.raises(ValueError, match="forgotten"):
        program_of(circuit, [])


@pytest.mark.parametrize("width", [2, 3, 4])
def test_blocks_in_order_are_the_whole_program(width):
    circuit = efficient_su2(5, reps=2, entanglement="full")
    program = program_of(circuit, list(circuit.parameters))
    blocks = cut_into_blocks(program, width)
    assert all(len(block.wires) == width for block in blocks)
    assert sorted(o.slot for b in blocks for o in b.operations if o.slot is not None) == list(range(program.num_slots))
    # Each wire sees its operations in the program's order, so the dependencies hold.
    cut = [operation for block in blocks for operation in block.operations]
    for wire in range(5):
        seen = [id(operation) for operation in cut if wire in operation.wires]
        assert seen == [id(operation) for operation in program.operations if wire in operation.wires]


def test_layers_in_order_are_their_block_and_the_terms_of_each_add_up_to_it():
    circuit, parameters = every_gate_circuit()
    program = program_of(circuit, parameters)
    block = Block(tuple(range(program.num_qubits)), program.operations)
    angles = np.random.default_rng(0).uniform(-3, 3, program.num_slots)
    functions = {"cos": np.cos, "sin": np.sin}
    some, product = layers(block)
    for layer in reversed(some):
        assert len(layer.terms) <= MOST_TERMS
        matrix = sum(
            matrix * np.prod([functions[name](angles[slot] / 2) for slot, name in weights.items()])
            for weights, matrix in layer.terms
        )
        product = product @ matrix
    assert len(some) < program.num_slots == sum(len(layer.slots) for layer in some)
    states = torch.eye(2**program.num_qubits, dtype=torch.complex128)
    assert np.abs(product - evolve(program, torch.as_tensor(angles), states).T.numpy()).max() < 1e-14


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (lambda p: 0 * p, lambda p: 0.0),
        (lambda p: p - p, lambda p: 0.0),
        (lambda p: p - p + 0.7, lambda p: 0.7),
        (lambda p: p**0, lambda p: 1.0),
        (lambda p: p.sign(), np.sign),
        (lambda p: p.sign().sign() * 0.3, lambda p: 0.3 * np.sign(p)),
        (lambda p: 2 * p.conjugate(), lambda p: 2 * p),
        (lambda p: (p * p).conjugate() - p.abs(), lambda p: p * p - abs(p)),
    ],
)
def test_expressions_that_are_constant_or_conjugated_are_angles_like_others(expression, expected):
    p, q = Parameter("p"), Parameter("q")
    circuit = QuantumCircuit(1)
    circuit.rx(expression(p), 0)
    circuit.ry(p * q, 0)
    angles = program_of(circuit, [p, q]).angle_map.compile()
    values = np.array([[[0.4, 1.0], [-0.3, 2.0]]])
    right = np.stack([np.vectorize(expected, otypes=[float])(values[..., 0]), values.prod(-1)], axis=-1)
    assert np.allclose(angles(torch.as_tensor(values)).numpy(), right, rtol=0, atol=1e-15)
    assert np.allclose(angles(torch.as_tensor(values[0, 0])).numpy(), right[0, 0], rtol=0, atol=1e-15)
    jacobian = torch.func.jacrev(angles)(torch.as_tensor(values[0, 0]))
    assert jacobian.shape == (2, 2)


def test_a_derivative_takes_two_shifts_or_four_for_a_controlled_rotation():
    circuit, parameters = every_gate_circuit()
    shifts = {(operation.name, operation.num_shifts) for operation in program_of(circuit, parameters).operations}
    assert {("rx", 2), ("rzx", 2), ("crx", 4), ("cry", 4), ("crz", 4), ("cx", 0)} <= shifts


def test_affine_angles_are_the_expressions_values_and_the_rest_is_told_apart():
    p, q = Parameter("p"), Parameter("q")
    one_each = AngleMap((p, q), (p + 0.5, -q / 2, p - p + 0.7, 2 * p.conjugate()))
    several = AngleMap((p, q), (p + 0.5, 2 * q - 3 * p + 1))
    values = torch.tensor([[0.3, -1.2], [2.0, 0.7]], dtype=torch.float64, requires_grad=True)
    for angle_map in (one_each, several):
        assert angle_map.affine() is not None
        bound = [
            [
                float(e.bind({a: row[i] for i, a in enumerate((p, q)) if a in e.parameters}).numeric())
                for e in angle_map.expressions
            ]
            for row in values.tolist()
        ]
        assert np.allclose(angle_map.compile()(values).detach().numpy(), bound, rtol=0, atol=1e-15)
        assert torch.autograd.gradcheck(angle_map.compile(), values)
    for expression in (p * q, p.sin(), p.sign(), p.abs(), p * 1j, p + 1j):
        assert AngleMap((p, q), (p, expression)).affine() is None


def test_qubits_are_in_the_order_of_qiskits_gates():
    circuit = QuantumCircuit(3)
    circuit.cx(2, 0)
    circuit.rzx(Parameter("t"), 2, 0)
    fixed, rotation = program_of(circuit, list(circuit.parameters)).operations
    assert fixed.qubits == rotation.qubits == (2, 0)
