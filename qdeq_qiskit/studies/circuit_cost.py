"""A compiled circuit in figures: how deep, how many gates, how bad its two-qubit gates are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from qiskit.circuit import CircuitInstruction
from qiskit.quantum_info import average_gate_fidelity

from qdeq_qiskit.backends.compiled import CompiledCircuit, is_two_qubit_gate
from qdeq_qiskit.noise import CircuitNoise


@dataclass(frozen=True)
class CircuitCost:
    """Counts of a compiled circuit, encoder included.

    Attributes:
        depth: layers of gates.
        two_qubit_depth: layers of two-qubit gates.
        two_qubit_gates: number of two-qubit gates.
    """

    depth: int
    two_qubit_depth: int
    two_qubit_gates: int


def cost_of(compiled: CompiledCircuit) -> CircuitCost:
    """Counts of a compiled circuit."""
    return CircuitCost(
        depth=compiled.circuit.depth(_is_gate),
        two_qubit_depth=compiled.two_qubit_depth,
        two_qubit_gates=compiled.num_two_qubit_gates,
    )


def two_qubit_error(compiled: CompiledCircuit, noise: CircuitNoise) -> float | None:
    """Average gate infidelity of the noise at the circuit's two-qubit gates, in the mean over them; None if it has
    none.

    For the depolarising channel of n qubits with parameter p (ρ → (1 − p) ρ + p I/2ⁿ) it is p (1 − 2⁻ⁿ).
    """
    circuit = compiled.circuit
    errors = []
    for instruction in filter(is_two_qubit_gate, circuit.data):
        qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
        channel = noise.channel(instruction.operation.name, qubits)
        errors.append(0.0 if channel is None else 1 - average_gate_fidelity(channel))
    return float(np.mean(errors)) if errors else None


def _is_gate(instruction: CircuitInstruction) -> bool:
    return instruction.operation.name not in ("barrier", "delay")
