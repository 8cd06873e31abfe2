"""Placing a circuit on a processor: layouts compared by their errors, compaction to the qubits in use, idle times."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction, ControlFlowOp, Delay
from qiskit.transpiler import PassManager, Target, TranspilerError, generate_preset_pass_manager
from qiskit.transpiler.passes import ALAPScheduleAnalysis, PadDelay, TimeUnitConversion
from qiskit.utils.units import apply_prefix

# Layouts are searched from this many seeds; one search takes some 10 ms for a few qubits, also on large processors.
_TRIALS = 10
# A few common processors by size, for the message that a circuit does not fit.
_PROCESSORS = {"fake_manila": 5, "fake_nairobi": 7, "fake_guadalupe": 16, "fake_brisbane": 127, "fake_torino": 133}


@dataclass(frozen=True, eq=False)
class Placement:
    """A transpiled circuit on the qubits that it uses.

    Attributes:
        circuit: on n wires; parameters as transpilation left them.
        physical: the processor's qubit of each wire: first those where the circuit's qubits start, in their order,
            then those that only routing uses.
        final: for each qubit of the circuit that was given, the wire where it ends.
    """

    circuit: QuantumCircuit
    physical: tuple[int, ...]
    final: tuple[int, ...]


def place(
    circuit: QuantumCircuit, target: Target, measured: set[int], *, optimization_level: int, seed: int
) -> Placement:
    """The circuit in a target's gates on the target's qubits: of several layouts the one with the least error.

    Args:
        circuit: gates and barriers only.
        target: the processor.
        measured: the qubits of the circuit whose readout counts.
        optimization_level: effort of the transpiler, 0 to 3.
        seed: of the transpiler.

    Raises:
        ValueError: the circuit has more qubits than the target has or connects, or gates that it cannot express.
    """
    check_size(circuit.num_qubits, target)
    best: tuple[float, QuantumCircuit] | None = None
    # The first trial is what a plain transpilation with this seed gives.
    others = np.random.SeedSequence(seed).generate_state(_TRIALS - 1) >> 1
    for trial in (seed, *others.tolist()):
        passes = generate_preset_pass_manager(optimization_level, target=target, seed_transpiler=trial)
        try:
            transpiled = passes.run(circuit)
        except TranspilerError as refusal:
            raise ValueError(
                f"the circuit cannot be compiled for the processor {target.description or ''}: it needs "
                f"{circuit.num_qubits} connected qubits and universal gates, such as rz, sx, cz, and the processor has "
                f"{', '.join(sorted(target.operation_names))} ({refusal.message})".replace(" :", ":")
            ) from refusal
        ends = transpiled.layout.final_index_layout() if transpiled.layout is not None else range(circuit.num_qubits)
        error = log_error(transpiled, target, {ends[qubit] for qubit in measured})
        if best is None or error < best[0]:
            best = error, transpiled
    assert best is not None
    return _compact(best[1], circuit.num_qubits)


def check_size(num_qubits: int, target: Target) -> None:
    """Raises ValueError if a target has fewer qubits than that."""
    if target.num_qubits is not None and num_qubits > target.num_qubits:
        large = [name for name, size in _PROCESSORS.items() if size >= num_qubits]
        would_do = f"; {', '.join(large)} would do" if large else ""
        raise ValueError(
            f"the circuit needs {num_qubits} qubits, the processor {target.description or ''} has only "
            f"{target.num_qubits}{would_do}".replace("  ", " ")
        )


def log_error(circuit: QuantumCircuit, target: Target, measured: Iterable[int]) -> float:
    """−log of the product of 1 − error over the gates, by the target's calibration, and the readout of `measured`.

    What the target gives no error for counts as perfect.
    """
    total = 0.0
    for instruction in circuit.data:
        qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
        total += _log_error_of(target, instruction.operation.name, qubits)
    return total + sum(_log_error_of(target, "measure", (qubit,)) for qubit in measured)


def _log_error_of(target: Target, name: str, qubits: tuple[int, ...]) -> float:
    # `Target.__getitem__` is None for an operation that acts alike everywhere.
    by_qubits = (target[name] or {}) if name in target.operation_names else {}
    properties = by_qubits.get(qubits)
    error = getattr(properties, "error", None) or 0.0
    return -math.log(max(1.0 - error, 1e-12))


def _compact(transpiled: QuantumCircuit, num_qubits: int) -> Placement:
    layout = transpiled.layout
    starts = layout.initial_index_layout(filter_ancillas=True) if layout is not None else [*range(num_qubits)]
    ends = layout.final_index_layout() if layout is not None else [*range(num_qubits)]
    touched = {transpiled.find_bit(qubit).index for instruction in transpiled.data for qubit in instruction.qubits}
    physical = (*starts, *sorted((touched | {*ends}) - {*starts}))
    wire = {qubit: index for index, qubit in enumerate(physical)}
    compact = QuantumCircuit(len(physical))
    for instruction in transpiled.data:
        compact.append(instruction.operation, [wire[transpiled.find_bit(qubit).index] for qubit in instruction.qubits])
    return Placement(compact, physical, tuple(wire[end] for end in ends))


def restricted(target: Target, physical: tuple[int, ...]) -> Target:
    """The target on some of its qubits, counted anew in this order; instruction properties kept, control flow not."""
    wire = {qubit: index for index, qubit in enumerate(physical)}
    small = Target(
        description=target.description,
        num_qubits=len(physical),
        dt=target.dt,
        granularity=target.granularity,
        min_length=target.min_length,
        pulse_alignment=target.pulse_alignment,
        acquire_alignment=target.acquire_alignment,
        qubit_properties=target.qubit_properties and [target.qubit_properties[qubit] for qubit in physical],
    )
    for name in target.operation_names:
        operation = target.operation_from_name(name)
        if isinstance(operation, type) and issubclass(operation, ControlFlowOp):
            continue
        by_qubits = target[name]
        if by_qubits is None or None in by_qubits:
            small.add_instruction(operation, name=name)
            continue
        kept = {
            tuple(wire[qubit] for qubit in qubits): properties
            for qubits, properties in by_qubits.items()
            if wire.keys() >= {*qubits}
        }
        if kept:
            small.add_instruction(operation, kept, name=name)
    return small


def schedule(circuit: QuantumCircuit, target: Target) -> QuantumCircuit:
    """The circuit with a delay wherever a wire waits; every gate as late as possible.

    Raises:
        ValueError: the target does not say how long a gate takes.
    """
    for instruction in circuit.data:
        qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
        if instruction.operation.name != "barrier" and _duration(target, instruction, qubits) is None:
            raise ValueError(
                f"idle: the target gives no duration for {instruction.operation.name!r} on wires {qubits}, so idle "
                "times are unknown"
            )
    passes = PassManager(
        [TimeUnitConversion(target=target), ALAPScheduleAnalysis(target=target), PadDelay(target=target)]
    )
    return passes.run(circuit)


def seconds(delay: Delay, target: Target | None) -> float:
    """The duration of a delay in seconds."""
    if delay.unit != "dt":
        return float(apply_prefix(delay.duration, delay.unit))
    assert target is not None
    return float(delay.duration * target.dt)


def _duration(target: Target, instruction: CircuitInstruction, qubits: tuple[int, ...]) -> float | None:
    by_qubits = (
        (target[instruction.operation.name] or {}) if instruction.operation.name in target.operation_names else {}
    )
    return getattr(by_qubits.get(qubits), "duration", None)
