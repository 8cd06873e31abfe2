"""A QNN's circuit as a processor runs it: encoder and ansatz compiled together, on the wires that are in use.

Noise sits on compiled gates, so their names are kept as the transpiler left them. A barrier stands between the part
that depends on the input and the rest: no compiled gate mixes a sample with the weights, and one compilation serves
every sample and every value of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, Delay, ParameterExpression, ParameterVector
from qiskit.circuit.library import PhaseGate
from qiskit.providers import BackendV2
from qiskit.quantum_info import Operator, Pauli, SparsePauliOp
from qiskit.transpiler import Target, generate_preset_pass_manager
from torch import Tensor

from qdeq_qiskit.backends.analysis import split_at_inputs
from qdeq_qiskit.backends.placement import Placement, log_error, place, restricted, schedule, seconds
from qdeq_qiskit.backends.program import (
    AngleMap,
    GateProgram,
    Operation,
    affine_function,
    angle_of,
    generator,
    in_basis,
    instructions_of,
    program_of,
)
from qdeq_qiskit.circuits import QNNCircuit


@final
@dataclass(frozen=True, eq=False)
class CompiledCircuit:
    """A QNN's circuit in native gates on n wires, with the observables on these wires.

    Attributes:
        prefix: the compiled encoder (and whatever else comes before the last gate that depends on the input); the
            parameters of its `angle_map` are p[0], ..., p[G − 1], the angles of the slots of `source`.
        suffix: the compiled rest, with weights only; its `angle_map` has the same parameters.
        source: the QNN's circuit before compilation; the parameters are the inputs, then the weights.
        circuit: prefix, barrier, suffix; parameters c[0], ..., c[G' − 1], plain, for the slots of the prefix and then
            of the suffix; nothing is measured, the global phase is dropped.
        observables: on the n wires.
        physical: the processor's qubit of each wire; 0, ..., n − 1 without a processor.
        target: the processor, restricted to these wires; None without one.
        basis_gates: names of the native gates; None if the circuit's own gates are.
        matrix: A, (G', G), of the angles of `circuit`, A·p + b.
        offset: b, (G',), in radians.
    """

    prefix: GateProgram
    suffix: GateProgram
    source: GateProgram
    circuit: QuantumCircuit
    observables: tuple[SparsePauliOp, ...]
    physical: tuple[int, ...]
    target: Target | None
    basis_gates: tuple[str, ...] | None
    matrix: np.ndarray = field(repr=False)
    offset: np.ndarray = field(repr=False)

    @property
    def num_qubits(self) -> int:
        """The number of wires, n: those of the source circuit, and qubits that routing passes through."""
        return self.circuit.num_qubits

    @property
    def estimated_fidelity(self) -> float:
        """Product of 1 − error over the gates and the readout of measured wires; 1 where no errors are known."""
        if self.target is None:
            return 1.0
        return math.exp(-log_error(self.circuit, self.target, _support(self.observables)))

    def angles(self, slot_angles: Tensor) -> Tensor:
        """Angles of `circuit`, (N, G'), for angles of the slots of `source`, (N, G), in radians; differentiable."""
        return affine_function(self.matrix, self.offset)(slot_angles)

    def gates(self) -> set[tuple[str, tuple[int, ...]]]:
        """(name, wires in Qiskit's order) of every gate in use; barriers and delays are none."""
        operations = (*self.prefix.operations, *self.suffix.operations)
        return {(operation.name, operation.qubits) for operation in operations if operation.name != "delay"}

    def basis_change(self, pauli_basis: Pauli | str) -> QuantumCircuit:
        """Native gates that turn a measurement of every wire's Z into one of the Paulis of `pauli_basis`.

        Args:
            pauli_basis: one Pauli a wire, in Qiskit's order (a label's last letter is wire 0's); Z and I need nothing.

        Returns:
            A circuit on n wires, to be appended before the measurement.

        Raises:
            ValueError: there are not as many Paulis as wires.
        """
        pauli = Pauli(pauli_basis)
        if pauli.num_qubits != self.num_qubits:
            raise ValueError(
                f"basis_change: {pauli_basis} is a basis of {pauli.num_qubits} wires, the circuit has {self.num_qubits}"
            )
        change = QuantumCircuit(self.num_qubits)
        for wire in map(int, np.flatnonzero(pauli.x)):
            if pauli.z[wire]:
                change.sdg(wire)
            change.h(wire)
        if self.target is not None:
            passes = generate_preset_pass_manager(
                1, target=self.target, initial_layout=[*range(self.num_qubits)], seed_transpiler=0
            )
            change = passes.run(change)
        elif self.basis_gates is not None:
            change = generate_preset_pass_manager(1, basis_gates=[*self.basis_gates], seed_transpiler=0).run(change)
        native = QuantumCircuit(self.num_qubits)
        for instruction in change.data:
            native.append(instruction.operation, _qubits(change, instruction))
        return native


def compile_circuit(
    qnn: QNNCircuit,
    *,
    target: Target | BackendV2 | None = None,
    basis_gates: Sequence[str] | None = None,
    optimization_level: int = 3,
    seed: int = 0,
    idle: bool = False,
) -> CompiledCircuit:
    """Compiles a QNN once, for all samples and weights.

    With neither `target` nor `basis_gates`, the circuit's own gates are native; only parameterised gates that are no
    rotations by one angle, such as `u`, are translated.

    Args:
        qnn: the circuit.
        target: the processor (or a backend whose target it is) that gives gates, connections, errors and durations.
        basis_gates: names of native gates that act on any qubits; not together with `target`.
        optimization_level: effort of the transpiler, 0 to 3.
        seed: of the transpiler; with a processor the best of several layouts that start from it is taken.
        idle: whether waiting wires get delays, by the processor's durations, every gate as late as possible.

    Raises:
        ValueError: the arguments contradict each other, the circuit does not fit on the processor, or a native gate
            has several free angles.
    """
    _check_arguments(target, basis_gates, optimization_level, idle)
    processor = target.target if isinstance(target, BackendV2) else target
    source = program_of(qnn.circuit, [*qnn.input_parameters, *qnn.weight_parameters])
    slots = ParameterVector("p", source.num_slots)
    circuit = _divided(qnn, source, slots)
    if processor is not None:
        measured = _support(qnn.observables)
        placement = place(circuit, processor, measured, optimization_level=optimization_level, seed=seed)
        processor = restricted(processor, placement.physical)
    else:
        wires = tuple(range(qnn.num_qubits))
        placement = Placement(circuit, wires, wires)
        if basis_gates is not None:
            placement = _translated(circuit, basis_gates, optimization_level, seed)
    native = placement.circuit
    if idle:
        assert processor is not None
        native = schedule(native, processor)
    prefix, suffix = _programs(native, slots, processor)
    both = AngleMap(tuple(slots), (*prefix.angle_map.expressions, *suffix.angle_map.expressions))
    matrix, offset = _affine(both)
    return CompiledCircuit(
        prefix=prefix,
        suffix=suffix,
        source=source,
        circuit=_plain(native, processor),
        observables=tuple(
            observable.apply_layout([*placement.final], num_qubits=native.num_qubits) for observable in qnn.observables
        ),
        physical=placement.physical,
        target=processor,
        basis_gates=None if basis_gates is None else tuple(basis_gates),
        matrix=matrix,
        offset=offset,
    )


def _check_arguments(
    target: Target | BackendV2 | None, basis_gates: Sequence[str] | None, optimization_level: int, idle: bool
) -> None:
    if target is not None and basis_gates is not None:
        raise ValueError("compile_circuit: a target has basis gates of its own; leave out target or basis_gates")
    if not (target is None or isinstance(target, Target | BackendV2)):
        raise TypeError(f"compile_circuit: target must be a Target or a BackendV2, not {type(target).__name__}")
    if idle and target is None:
        raise ValueError("compile_circuit: idle=True needs a target, whose durations say how long a wire waits")
    if optimization_level not in range(4):
        raise ValueError(f"compile_circuit: optimization_level must be 0, 1, 2 or 3, not {optimization_level!r}")


def _divided(qnn: QNNCircuit, source: GateProgram, slots: ParameterVector) -> QuantumCircuit:
    """The QNN's gates under their own names, slots as angles: what depends on the input, a barrier, the rest."""
    gates = [gate for _, _, _, gate in instructions_of(in_basis(qnn.circuit))]
    gate_of = {id(operation): gate for operation, gate in zip(source.operations, gates, strict=True)}
    circuit = QuantumCircuit(source.num_qubits)
    for index, part in enumerate(split_at_inputs(source, set(qnn.input_parameters))):
        if index == 1:
            circuit.barrier()
        for operation in part:
            gate = gate_of[id(operation)]
            if operation.slot is not None:
                gate = gate.to_mutable()
                gate.params = [slots[operation.slot]]
            circuit.append(gate, operation.qubits)
    return circuit


def _translated(circuit: QuantumCircuit, basis_gates: Sequence[str], level: int, seed: int) -> Placement:
    # Qiskit's translation to `p` piles up an expression for the global phase and takes minutes; rz differs from p by
    # this phase alone, which no expectation value sees.
    phases = "p" in basis_gates and "rz" not in basis_gates
    names = [name for name in basis_gates if name != "p"] + ["rz"] if phases else [*basis_gates]
    transpiled = generate_preset_pass_manager(level, basis_gates=names, seed_transpiler=seed).run(circuit)
    # Level 3 drops swaps and relabels the wires instead.
    layout = transpiled.layout
    final = range(circuit.num_qubits) if layout is None else layout.final_index_layout()
    native = QuantumCircuit(circuit.num_qubits)
    for instruction in transpiled.data:
        gate = instruction.operation
        native.append(
            PhaseGate(*gate.params) if phases and gate.name == "rz" else gate, _qubits(transpiled, instruction)
        )
    return Placement(native, tuple(range(circuit.num_qubits)), tuple(final))


def _programs(native: QuantumCircuit, slots: ParameterVector, target: Target | None) -> tuple[GateProgram, GateProgram]:
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
        gate, qubits = instruction.operation, _qubits(native, instruction)
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


def _affine(angle_map: AngleMap) -> tuple[np.ndarray, np.ndarray]:
    affine = angle_map.affine()
    if affine is None:
        culprit = next(e for e in angle_map.expressions if AngleMap(angle_map.parameters, (e,)).affine() is None)
        raise ValueError(
            f"compile_circuit: compilation made an angle {culprit} that is no sum of multiples of the "
            "circuit's angles; try another optimization_level"
        )
    return affine


def _plain(native: QuantumCircuit, target: Target | None) -> QuantumCircuit:
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
        circuit.append(gate, _qubits(native, instruction))
    return circuit


def _qubits(circuit: QuantumCircuit, instruction: CircuitInstruction) -> tuple[int, ...]:
    return tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)


def _support(observables: Sequence[SparsePauliOp]) -> set[int]:
    """The qubits that any observable acts on."""
    return {int(q) for o in observables for q in np.flatnonzero((o.paulis.x | o.paulis.z).any(axis=0))}
