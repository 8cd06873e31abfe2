"""The gates of a compiled circuit that can have errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from qiskit.transpiler import Target

Location = tuple[str, tuple[int, ...]]
"""A gate's name and its qubits, in Qiskit's order."""

# What turns a measurement of X or Y into one of Z, what decouples idle qubits, and what twirls: they come after
# compilation, so the circuit itself may not have them.
_LATER = ("rz", "rx", "ry", "sx", "sxdg", "x", "y", "z", "h", "s", "sdg", "id")


class Compiled(Protocol):
    """What noise needs to know of a compiled circuit.

    Attributes:
        circuit: native gates on its n wires.
        physical: the processor's qubit of each wire.
        target: the processor, restricted to these wires; None if there is none.
    """

    @property
    def circuit(self) -> QuantumCircuit: ...
    @property
    def physical(self) -> tuple[int, ...]: ...
    @property
    def target(self) -> Target | None: ...


def circuit_gates(circuit: QuantumCircuit) -> set[Location]:
    """(name, qubits) of every gate that the circuit has; no barriers, delays and measurements.

    Raises:
        ValueError: a gate has more than two qubits.
    """
    found: set[Location] = set()
    for instruction in circuit.data:
        if isinstance(instruction.operation, Gate):
            qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
            if len(qubits) > 2:
                raise ValueError(
                    f"gate {instruction.operation.name!r} has {len(qubits)} qubits; noise models are about gates of "
                    "one and two, so compile the circuit to such gates first"
                )
            found.add((instruction.operation.name, qubits))
    return found


def possible_gates(compiled: Compiled) -> set[Location]:
    """The circuit's gates, and one-qubit gates on any wire, which are put around it later."""
    gates = circuit_gates(compiled.circuit)
    names = {*_LATER, *(name for name, qubits in gates if len(qubits) == 1)}
    return gates | {(name, (wire,)) for name in names for wire in range(compiled.circuit.num_qubits)}


def one_qubit_gates(target: Target, wires: range) -> Iterator[Location]:
    """(name, (wire,)) of every one-qubit gate of a target."""
    for name in target.operation_names:
        operation = target.operation_from_name(name)
        if isinstance(operation, Gate) and operation.num_qubits == 1:
            yield from ((name, (wire,)) for wire in wires)
