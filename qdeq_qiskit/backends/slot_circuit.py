"""Gate programs back as Qiskit circuits, every slot a plain parameter of its own."""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, ParameterVector
from qiskit.circuit.library import UnitaryGate
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping

from qdeq_qiskit.backends.program import GateProgram, Operation

# Fixed gates that simulators run faster, and transpilers translate better, by name than by matrix.
_NAMED = frozenset({"id", "h", "x", "y", "z", "s", "sdg", "t", "tdg", "sx", "sxdg", "cx", "cy", "cz", "swap"})


def slot_circuit(program: GateProgram) -> QuantumCircuit:
    """The circuit of a program, with parameters p[0], ..., p[G − 1] for its slots: no expressions, none shared."""
    circuit = QuantumCircuit(program.num_qubits)
    angles = ParameterVector("p", program.num_slots)
    for operation in program.operations:
        if operation.slot is None:
            circuit.append(fixed_gate(operation), operation.wires[::-1])
        else:
            getattr(circuit, operation.name)(angles[operation.slot], *operation.wires)
    return circuit


def fixed_gate(operation: Operation) -> Gate:
    """The gate of a fixed unitary, on its wires in reverse: by its name where that means this matrix in Qiskit."""
    matrix = np.asarray(operation.matrix)
    if operation.name in _NAMED:
        gate = get_standard_gate_name_mapping()[operation.name]
        if np.array_equal(gate.to_matrix(), matrix):
            return gate
    return UnitaryGate(matrix)
