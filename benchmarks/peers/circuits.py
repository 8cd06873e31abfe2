"""The problems of the comparison, made from the library's own circuits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qdeq_qiskit.circuits import (
    QNNCircuit,
    amplitude_encoder,
    angle_encoder,
    qdeq_ansatz,
    random_layer,
    ryzxy_gates,
    z_readout,
)

from .problem import Encoding, Gate, Problem


@lru_cache
def problem_of(encoding: Encoding, num_qubits: int) -> Problem:
    """The paper's model on n qubits: n² amplitudes, or 4n angles (`ryzxy`)."""
    ansatz = ansatz_of(num_qubits)
    encoder = _encoder(encoding, num_qubits)
    return Problem(
        encoding,
        num_qubits,
        num_qubits**2 if encoding == "amplitude" else encoder.num_parameters,
        ansatz.num_parameters,
        () if encoding == "amplitude" else gates_of(encoder, list(encoder.parameters)),
        gates_of(ansatz, list(ansatz.parameters)),
    )


@lru_cache
def qnn_of(problem: Problem) -> QNNCircuit:
    """The same as the library takes it."""
    n = problem.num_qubits
    amplitudes = problem.num_features if problem.encoding == "amplitude" else None
    return QNNCircuit.compose(_encoder(problem.encoding, n), ansatz_of(n), z_readout(n), num_amplitudes=amplitudes)


def ansatz_of(num_qubits: int) -> QuantumCircuit:
    """The paper's ansatz; its random layer alone below 4 qubits, where its block does not fit."""
    return qdeq_ansatz(num_qubits) if num_qubits >= 4 else random_layer(num_qubits)


def gates_of(circuit: QuantumCircuit, parameters: Sequence[Parameter]) -> tuple[Gate, ...]:
    """The circuit's gates; each parameter by its place among `parameters`."""
    place = {parameter: index for index, parameter in enumerate(parameters)}
    return tuple(
        Gate(
            instruction.operation.name,
            tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits),
            place[instruction.operation.params[0]] if instruction.operation.params else None,
        )
        for instruction in circuit.data
    )


def _encoder(encoding: Encoding, num_qubits: int) -> QuantumCircuit:
    if encoding == "amplitude":
        return amplitude_encoder(num_qubits, num_qubits**2)
    return angle_encoder(num_qubits, ryzxy_gates(num_qubits))
