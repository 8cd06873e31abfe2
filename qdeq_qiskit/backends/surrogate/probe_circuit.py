"""A design's preparation in place of the encoder: the same weight block on the same qubits, its gates untouched."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import final

import torch
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Parameter, ParameterExpression, ParameterVector
from qiskit.transpiler import generate_preset_pass_manager
from torch import Tensor

from qdeq_qiskit.backends.analysis import split_at_inputs
from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.native_programs import affine_angles, native_programs, qubits_of, with_plain_parameters
from qdeq_qiskit.backends.program import AngleMap, GateProgram, Operation, program_of
from qdeq_qiskit.backends.slot_circuit import slot_circuit
from qdeq_qiskit.backends.surrogate.designs import Edge, Preparations
from qdeq_qiskit.backends.surrogate.encoder_wires import EncoderWires
from qdeq_qiskit.circuits import QNNCircuit


@final
@dataclass(frozen=True, eq=False)
class ProbeCircuit:
    """One circuit of a plan: a preparation and the model's weight block, compiled.

    Attributes:
        qnn: its inputs are the preparation's angles, its weights and observables the model's.
        compiled: whatever runs compiled circuits runs this one.
        preparations: the states.
    """

    qnn: QNNCircuit
    compiled: CompiledCircuit
    preparations: Preparations = field(repr=False)

    def rows(self, weight: Tensor) -> Tensor:
        """Angles of the slots of `compiled.source`, one row for each state, (N, G), at some weights, (P,)."""
        states = torch.as_tensor(self.preparations.angles)
        values = torch.cat((states, weight.detach().double().cpu().expand(len(states), -1)), dim=1)
        return self.compiled.source.angle_map.compile()(values)


def edges_of(compiled: CompiledCircuit, wires: tuple[int, ...]) -> list[Edge]:
    """The pairs of some wires, by their place among these, that two-qubit gates can join; all without a processor."""
    place = {wire: index for index, wire in enumerate(wires)}
    if compiled.target is None or compiled.target.qargs is None:
        return [(a, b) for b in range(len(wires)) for a in range(b)]
    pairs = (qubits for qubits in compiled.target.qargs if len(qubits) == 2 and place.keys() >= {*qubits})
    return sorted({(min(a, b), max(a, b)) for a, b in ((place[first], place[last]) for first, last in pairs)})


def probe_circuit(
    qnn: QNNCircuit, compiled: CompiledCircuit, encoder: EncoderWires, preparations: Preparations
) -> ProbeCircuit:
    """The compiled circuit with a preparation where its encoder was.

    Args:
        qnn: the model's circuit.
        compiled: the same, compiled.
        encoder: where the compiled encoder's state is; the preparation's wires are those, in their order.
        preparations: the states.
    """
    wires = encoder.wires
    inputs = ParameterVector("probe", 2 * len(wires))
    source, kept = _source(qnn, compiled, encoder.qubits, preparations, inputs)
    slots = ParameterVector("p", source.num_slots)
    native = QuantumCircuit(compiled.num_qubits)
    native.compose(_native_preparation(compiled, wires, preparations, slots), inplace=True)
    native.barrier()
    prefix, _ = native_programs(native, slots, compiled.target)
    # The kept slots of the old source are the last ones of the new.
    moved = dict(zip(kept, slots[2 * len(wires) :], strict=True))
    suffix = GateProgram(
        compiled.num_qubits, compiled.suffix.operations, AngleMap(tuple(slots), _moved(compiled.suffix, moved))
    )
    for instruction in _after_barrier(compiled.circuit):
        native.append(instruction.operation, qubits_of(compiled.circuit, instruction))
    angles = AngleMap(tuple(slots), (*prefix.angle_map.expressions, *suffix.angle_map.expressions))
    matrix, offset = affine_angles(angles)
    circuit = with_plain_parameters(native, compiled.target)
    probe = dataclasses.replace(
        compiled, prefix=prefix, suffix=suffix, source=source, circuit=circuit, matrix=matrix, offset=offset
    )
    return ProbeCircuit(_model(qnn, source, inputs), probe, preparations)


def _source(
    qnn: QNNCircuit,
    compiled: CompiledCircuit,
    qubits: tuple[int, ...],
    preparations: Preparations,
    inputs: ParameterVector,
) -> tuple[GateProgram, list[int]]:
    """Preparation and weight block before compilation, and which slots of the old source the latter had."""
    old = compiled.source
    _, rest = split_at_inputs(old, set(qnn.input_parameters))
    kept = sorted(operation.slot for operation in rest if operation.slot is not None)
    circuit = QuantumCircuit(qnn.num_qubits)
    circuit.compose(_preparation(preparations, inputs), qubits=qubits, inplace=True)
    first = program_of(circuit, [*inputs])
    place = {slot: first.num_slots + index for index, slot in enumerate(kept)}
    operations = (
        *first.operations,
        *(
            Operation(each.name, each.wires, None if each.slot is None else place[each.slot], each.matrix)
            for each in rest
        ),
    )
    expressions = (*first.angle_map.expressions, *(old.angle_map.expressions[slot] for slot in kept))
    angle_map = AngleMap((*inputs, *qnn.weight_parameters), expressions)
    return GateProgram(qnn.num_qubits, operations, angle_map), kept


def _preparation(preparations: Preparations, angles: ParameterVector | list[Parameter]) -> QuantumCircuit:
    circuit = QuantumCircuit(preparations.num_wires)
    for wire in range(preparations.num_wires):
        circuit.ry(angles[2 * wire], wire)
        circuit.rz(angles[2 * wire + 1], wire)
    return circuit.compose(preparations.entangler)


def _native_preparation(
    compiled: CompiledCircuit, wires: tuple[int, ...], preparations: Preparations, slots: ParameterVector
) -> QuantumCircuit:
    """The preparation in native gates on the compiled circuit's wires."""
    circuit = QuantumCircuit(compiled.num_qubits)
    circuit.compose(_preparation(preparations, slots[: 2 * len(wires)]), qubits=wires, inplace=True)
    if compiled.target is not None:
        stay = [*range(compiled.num_qubits)]
        passes = generate_preset_pass_manager(1, target=compiled.target, initial_layout=stay, seed_transpiler=0)
    elif compiled.basis_gates is not None:
        passes = generate_preset_pass_manager(1, basis_gates=[*compiled.basis_gates], seed_transpiler=0)
    else:
        return circuit
    transpiled = passes.run(circuit)
    native = QuantumCircuit(compiled.num_qubits)
    for instruction in transpiled.data:
        native.append(instruction.operation, qubits_of(transpiled, instruction))
    return native


def _moved(program: GateProgram, moved: dict[int, Parameter]) -> tuple[ParameterExpression, ...]:
    """The program's angles in the parameters of the new slots."""
    old = program.angle_map.parameters
    change = {old[slot]: parameter for slot, parameter in moved.items()}
    # In two steps, as an old parameter and a new one may be called the same.
    between = {parameter: Parameter(f"between[{index}]") for index, parameter in enumerate(change)}
    found = []
    for expression in program.angle_map.expressions:
        own = expression.parameters
        half = expression.subs({parameter: between[parameter] for parameter in own})
        found.append(half.subs({between[parameter]: change[parameter] for parameter in own}))
    return tuple(found)


def _after_barrier(circuit: QuantumCircuit) -> Iterator[CircuitInstruction]:
    instructions = iter(circuit.data)
    for instruction in instructions:
        if instruction.operation.name == "barrier":
            break
    yield from instructions


def _model(qnn: QNNCircuit, source: GateProgram, inputs: ParameterVector) -> QNNCircuit:
    slots = slot_circuit(source)
    angles = source.angle_map.expressions
    circuit = slots.assign_parameters({slot: angles[slot.index] for slot in slots.parameters})
    return QNNCircuit(circuit, [*inputs], qnn.weight_parameters, qnn.observables, weight_groups=qnn.weight_groups)
