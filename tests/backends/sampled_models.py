"""Circuits that are measured in tests: both encodings, and one that is neither."""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, angle_encoder, qdeq_ansatz, ryzxy_gates, z_readout


def angle_model() -> QNNCircuit:
    return QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), qdeq_ansatz(4), z_readout(4))


def amplitude_model() -> QNNCircuit:
    return QNNCircuit.compose(amplitude_encoder(4, 11), qdeq_ansatz(4), z_readout(4), num_amplitudes=11)


def tangled_model() -> QNNCircuit:
    """Inputs in expressions, in several gates, among them controlled rotations; observables in two bases."""
    x, theta = ParameterVector("x", 3), ParameterVector("t", 2)
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.ry(x[0] * x[1], 0)
    circuit.crx(x[2], 0, 1)
    circuit.rz(theta[0] + 0.2, 1)
    circuit.cry(2 * x[0], 1, 0)
    circuit.crz(theta[1] * x[1], 0, 1)
    circuit.rxx(theta[0], 0, 1)
    return QNNCircuit(circuit, x, theta, [SparsePauliOp("ZI"), SparsePauliOp(["XX", "IZ"], [0.5, 1.0])])
