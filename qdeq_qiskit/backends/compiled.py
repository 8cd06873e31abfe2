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
from qiskit.circuit import CircuitInstruction, ControlledGate, Instruction, ParameterVector
from qiskit.circuit.controlflow import CONTROL_FLOW_OP_NAMES
from qiskit.circuit.library import PhaseGate, get_standard_gate_name_mapping
from qiskit.providers import BackendV2
from qiskit.quantum_info import Pauli, SparsePauliOp
from qiskit.transpiler import Target, TranspilerError, generate_preset_pass_manager
from torch import Tensor

from qdeq_qiskit.backends.analysis import split_at_inputs
from qdeq_qiskit.backends.native_programs import affine_angles, native_programs, qubits_of, with_plain_parameters
from qdeq_qiskit.backends.placement import Placement, log_error, place, restricted, schedule
from qdeq_qiskit.backends.program import AngleMap, GateProgram, affine_function, in_basis, instructions_of, program_of
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.recipes import nearest


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

    @property
    def num_two_qubit_gates(self) -> int:
        """How many two-qubit gates there are, encoder included."""
        return sum(is_two_qubit_gate(instruction) for instruction in self.circuit.data)

    @property
    def two_qubit_depth(self) -> int:
        """Layers of two-qubit gates, encoder included: the usual count of how deep a circuit is on a processor."""
        return int(self.circuit.depth(is_two_qubit_gate))

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
            native.append(instruction.operation, qubits_of(change, instruction))
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
    rotations by one angle, such as `u`, and gates that are controlled by 0 are translated. Labels of gates are dropped.

    Args:
        qnn: the circuit.
        target: the processor (or a backend whose target it is) that gives gates, connections, errors and durations.
        basis_gates: names of native gates that act on any qubits; not together with `target`.
        optimization_level: effort of the transpiler, 0 to 3.
        seed: of the transpiler; with a processor the best of several layouts that start from it is taken.
        idle: whether waiting wires get delays, by the processor's durations, every gate as late as possible.

    Raises:
        ValueError: the arguments contradict each other, the circuit does not fit on the processor, or a native gate
            has several free angles, or the basis gates cannot express it.
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
    prefix, suffix = native_programs(native, slots, processor)
    both = AngleMap(tuple(slots), (*prefix.angle_map.expressions, *suffix.angle_map.expressions))
    matrix, offset = affine_angles(both)
    return CompiledCircuit(
        prefix=prefix,
        suffix=suffix,
        source=source,
        circuit=with_plain_parameters(native, processor),
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
    if isinstance(basis_gates, str):
        raise TypeError(
            f"compile_circuit: basis_gates must be a list of names, such as ['rz', 'sx'], not {basis_gates!r}"
        )
    if not (target is None or isinstance(target, Target | BackendV2)):
        raise TypeError(f"compile_circuit: target must be a Target or a BackendV2, not {type(target).__name__}")
    known = {*get_standard_gate_name_mapping(), *CONTROL_FLOW_OP_NAMES, "barrier"}
    for name in basis_gates or ():
        if name not in known:
            close = nearest(name, sorted(known))
            raise ValueError(
                f"compile_circuit: basis_gates: there is no gate {name!r}; "
                + (f"did you mean {close!r}? " if close else "")
                + "expected names of Qiskit's, such as rz, sx, x, cz, cx, ecr, rzz"
            )
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
            _append_by_name(circuit, gate, operation.qubits)
    return circuit


def _append_by_name(circuit: QuantumCircuit, gate: Instruction, qubits: tuple[int, ...]) -> None:
    """Appends a gate such that Aer finds its noise by its name.

    Aer would look up a label in place of the name, and runs a gate that is controlled by 0 as three gates of its own.
    """
    if isinstance(gate, ControlledGate) and gate.ctrl_state != 2**gate.num_ctrl_qubits - 1:
        for inner in gate.definition.data:
            circuit.append(inner.operation, [qubits[gate.definition.find_bit(qubit).index] for qubit in inner.qubits])
        return
    if gate.label is not None:
        gate = gate.to_mutable()
        gate.label = None
    circuit.append(gate, qubits)


def _translated(circuit: QuantumCircuit, basis_gates: Sequence[str], level: int, seed: int) -> Placement:
    # Qiskit's translation to `p` piles up an expression for the global phase and takes minutes; rz differs from p by
    # this phase alone, which no expectation value sees.
    phases = "p" in basis_gates and "rz" not in basis_gates
    names = [name for name in basis_gates if name != "p"] + ["rz"] if phases else [*basis_gates]
    try:
        transpiled = generate_preset_pass_manager(level, basis_gates=names, seed_transpiler=seed).run(circuit)
    except TranspilerError as error:
        gates = {instruction.operation.name for instruction in circuit.data} - {"barrier"}
        raise ValueError(
            f"compile_circuit: the basis gates {', '.join(basis_gates) or '(none)'} cannot express the circuit's "
            f"{', '.join(sorted(gates))}; take a basis that is universal, such as rz, sx, x, cz"
        ) from error
    # Level 3 drops swaps and relabels the wires instead.
    layout = transpiled.layout
    final = range(circuit.num_qubits) if layout is None else layout.final_index_layout()
    native = QuantumCircuit(circuit.num_qubits)
    for instruction in transpiled.data:
        gate = instruction.operation
        native.append(
            PhaseGate(*gate.params) if phases and gate.name == "rz" else gate, qubits_of(transpiled, instruction)
        )
    return Placement(native, tuple(range(circuit.num_qubits)), tuple(final))


def is_two_qubit_gate(instruction: CircuitInstruction) -> bool:
    """Whether an instruction of a compiled circuit is a gate on two qubits, which a barrier is not."""
    return instruction.operation.name != "barrier" and len(instruction.qubits) == 2


def _support(observables: Sequence[SparsePauliOp]) -> set[int]:
    """The qubits that any observable acts on."""
    return {int(q) for o in observables for q in np.flatnonzero((o.paulis.x | o.paulis.z).any(axis=0))}
