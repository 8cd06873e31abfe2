"""Gates at the end that observables take over, and observables grouped by the wires they see, against Qiskit."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import Operator, SparsePauliOp

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.grams import SignedGrams
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.backends.trailing import split_trailing
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder


def ending(num_qubits: int) -> tuple[QuantumCircuit, ParameterVector]:
    """An ansatz whose last gates are of every kind: some go into the observables, some stand before an H."""
    theta = ParameterVector("t", num_qubits)
    circuit = QuantumCircuit(num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(theta[qubit], qubit)
        circuit.rx(0.3 + qubit, qubit)
    circuit.cx(0, 1)
    circuit.sx(2)
    circuit.cx(1, 2)
    circuit.h(0)
    circuit.swap(2, 3)
    circuit.x(1)
    circuit.cz(1, 0)
    circuit.y(2)
    circuit.ccx(3, 1, 0)
    circuit.t(3)
    circuit.unitary(np.eye(4)[[1, 2, 0, 3]], [2, 0])  # not its own inverse
    return circuit, theta


def test_only_permuting_gates_that_nothing_follows_are_taken_off():
    circuit, theta = ending(4)
    program, trailing = split_trailing(program_of(circuit, list(theta)))
    names = [operation.name for operation in trailing]
    assert not {"h", "sx", "ry"}.intersection(names)
    assert [operation.name for operation in program.operations][-2:] == ["sx", "h"]
    assert len(trailing) + len(program.operations) == len(program_of(circuit, list(theta)).operations)


@pytest.mark.parametrize(
    "observables",
    [
        [SparsePauliOp("IIIZ"), SparsePauliOp("ZIZI"), SparsePauliOp(["IZII", "ZZZZ"], [0.3, -2.0])],
        [SparsePauliOp("XIIZ")],
    ],
)
def test_outputs_and_gradients_are_those_of_the_whole_circuit(observables):
    ansatz, theta = ending(4)
    qnn = QNNCircuit.compose(amplitude_encoder(4, 11), ansatz, observables, num_amplitudes=11)
    torch.manual_seed(1)
    layer = ExactLayer(qnn, precision="double")
    features = torch.randn(3, 11, dtype=torch.float64)

    def expected(weights: np.ndarray) -> np.ndarray:
        unitary = Operator(ansatz.assign_parameters(dict(zip(theta, weights, strict=True)))).data
        # Wire 0 is the most significant bit of a feature's number, Qiskit's qubit 0 the least significant one.
        states = np.zeros((3, 16), dtype=complex)
        for index in range(11):
            states[:, int(f"{index:04b}"[::-1], 2)] = features[:, index]
        states = (states / np.linalg.norm(states, axis=1, keepdims=True)) @ unitary.T
        return np.stack([np.einsum("bi,ij,bj->b", states.conj(), o.to_matrix(), states).real for o in observables], 1)

    weights = layer.weight.detach().numpy()
    outputs = layer(features)
    assert np.abs(outputs.detach().numpy() - expected(weights)).max() < 1e-12
    (gradient,) = torch.autograd.grad(outputs.sum(), layer.weight)
    for index in range(len(weights)):
        shift = np.pi / 2 * np.eye(len(weights))[index]
        slope = (expected(weights + shift) - expected(weights - shift)).sum() / 2
        assert abs(slope - gradient[index].item()) < 1e-12


@pytest.mark.parametrize(
    ("labels", "products"),
    [
        (["ZIIIII", "IZIIII", "IIZIII", "IIIZII", "IIIIZI", "IIIIIZ"], 2),
        (["ZIIZII", "IIIIIZ", "IZIIZI", "IIZIIZ", "ZIIIII"], 3),
        (["ZZZZII", "IIIIZZ", "ZIIIII"], 3),
        (["IIIIII", "ZIIIII"], 1),
    ],
)
def test_operators_of_grouped_observables_are_those_of_each_alone(labels, products):
    columns = torch.randn(64, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    observables = [SparsePauliOp(label) for label in labels]
    # Qiskit's matrices have qubit 0 as the least significant bit, wires as the most significant one.
    matrices = np.stack([observable.to_matrix(sparse=False) for observable in map(reversed_wires, labels)])
    readout = Readout(observables)
    expected = torch.as_tensor(np.einsum("ia,kij,jb->kab", columns.numpy().conj(), matrices, columns.numpy()).real)
    assert (readout.real_operators(columns) - expected).abs().max() < 1e-12
    grams = SignedGrams(torch.as_tensor(np.stack([np.diag(matrix).real for matrix in matrices])))
    assert grams.num_products == products
    columns.requires_grad_()
    weights = torch.randn(expected.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((weights * grams.operators(columns)).sum(), columns)
    plain = torch.einsum("ia,ki,ib->kab", columns.conj(), grams.diagonals.to(columns.dtype), columns).real
    (slow,) = torch.autograd.grad((weights * plain).sum(), columns)
    assert (gradient - slow).abs().max() < 1e-12


def reversed_wires(label: str) -> SparsePauliOp:
    return SparsePauliOp(label[::-1])
