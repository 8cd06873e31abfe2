"""A native circuit as programs: what stands before its barrier, what after it, and their angles."""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Delay, ParameterExpression, ParameterVector
from qiskit.quantum_info import Operator
from qiskit.transpiler import Target

from qdeq_qiskit.backends.placement import seconds
from qdeq_qiskit.backends.program import AngleMap, GateProgram, Operation, angle_of, generator


def native_programs(
    native: QuantumCircuit, slots: ParameterVector, target: Target | None
) -> tuple[GateProgram, GateProgram]:
    """What stands before the barrier, and what after it."""
    parts: tuple[list[CircuitInstruction], list[CircuitInstruction]] = ([], [])
    after = 0
    for instruction in native.data:
        if instruction.operation.name == "barrier":
            after = 1
        else:
            parts[after].append(instruction)
    prefix, suffix = (_program(native, part, slots, target) for part in parts)
    return prefix, suffix


def _program(
    native: QuantumCircuit, part: list[CircuitInstruction], slots: ParameterVector, target: Target | None
) -> GateProgram:
    operations: list[Operation] = []
    expressions: list[ParameterExpression] = []
    for instruction in part:
        gate, qubits = instruction.operation, qubits_of(native, instruction)
        if isinstance(gate, Delay):
            operations.append(Operation("delay", qubits, matrix=np.eye(2), duration=seconds(gate, target)))
            continue
        angle = angle_of(gate)
        if angle is None:
            operations.append(Operation(gate.name, qubits[::-1], matrix=Operator(gate).data))
            continue
        _check_rotation(gate.name, len(gate.params))
        operations.append(Operation(gate.name, qubits, slot=len(expressions)))
        expressions.append(angle)
    return GateProgram(native.num_qubits, tuple(operations), AngleMap(tuple(slots), tuple(expressions)))


def _check_rotation(name: str, num_angles: int) -> None:
    try:
        generator(name)
    except KeyError:
        several = "has several angles" if num_angles > 1 else "is no rotation by its angle"
        raise ValueError(
            f"compile_circuit: the compiled circuit has a parameterised {name!r}, which {several}; choose basis gates "
            "whose angles are those of rotations, such as rz, sx, x, cz"
        ) from None


def affine_angles(angle_map: AngleMap) -> tuple[np.ndarray, np.ndarray]:
    affine = angle_map.affine()
    if affine is None:
        culprit = next(e for e in angle_map.expressions if AngleMap(angle_map.parameters, (e,)).affine() is None)
        raise ValueError(
            f"compile_circuit: compilation made an angle {culprit} that is no sum of multiples of the "
            "circuit's angles; try another optimization_level"
        )
    return affine


def with_plain_parameters(native: QuantumCircuit, target: Target | None) -> QuantumCircuit:
    """The circuit with a parameter of its own, c[i], for each parameterised gate; numbers elsewhere, delays in s."""
    count = sum(angle_of(instruction.operation) is not None for instruction in native.data)
    free = iter(ParameterVector("c", count))
    circuit = QuantumCircuit(native.num_qubits)
    for instruction in native.data:
        gate = instruction.operation
        if isinstance(gate, Delay):
            gate = Delay(seconds(gate, target), "s")
        if any(isinstance(value, ParameterExpression) for value in gate.params):
            gate = gate.to_mutable()
            gate.params = [next(free)] if angle_of(gate) is not None else [float(value) for value in gate.params]
        circuit.append(gate, qubits_of(native, instruction))
    return circuit


def qubits_of(circuit: QuantumCircuit, instruction: CircuitInstruction) -> tuple[int, ...]:
    return tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
