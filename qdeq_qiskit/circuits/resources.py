"""What a circuit costs on a target: depth and gates, as written or after transpilation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from qiskit import QuantumCircuit
from qiskit.circuit import CircuitInstruction
from qiskit.providers import BackendV2
from qiskit.transpiler import Target, generate_preset_pass_manager


@dataclass(frozen=True)
class CircuitResources:
    """Counts of one circuit. Barriers count for nothing; a two-qubit gate is any gate on two qubits or more.

    Attributes:
        depth: layers of gates.
        two_qubit_depth: layers of two-qubit gates, what decoherence is mostly about.
        two_qubit_gates: number of two-qubit gates.
        gates: number of gates of each name.
        num_weights: trainable parameters.
        num_inputs: input parameters.
    """

    depth: int
    two_qubit_depth: int
    two_qubit_gates: int
    gates: Mapping[str, int]
    num_weights: int
    num_inputs: int


def count_resources(
    circuit: QuantumCircuit,
    *,
    num_weights: int,
    num_inputs: int,
    target: Target | BackendV2 | None = None,
    optimization_level: int = 2,
    seed: int = 0,
) -> CircuitResources:
    """Counts of `circuit`, transpiled to `target` first if there is one.

    Args:
        circuit: the circuit.
        num_weights: handed on to the result.
        num_inputs: handed on to the result.
        target: a transpilation target, or a backend whose target it is; None to count the circuit as written.
        optimization_level: effort of the transpiler, 0 to 3.
        seed: seed of the transpiler; another one may give other counts.

    Raises:
        ValueError: if the circuit does not fit on the target.
    """
    if target is not None:
        circuit = _transpiled(circuit, target, optimization_level, seed)
    gates = {name: count for name, count in sorted(circuit.count_ops().items()) if name != "barrier"}
    return CircuitResources(
        depth=circuit.depth(_is_gate),
        two_qubit_depth=circuit.depth(_is_two_qubit_gate),
        two_qubit_gates=sum(_is_two_qubit_gate(instruction) for instruction in circuit.data),
        gates=gates,
        num_weights=num_weights,
        num_inputs=num_inputs,
    )


def _transpiled(
    circuit: QuantumCircuit, target: Target | BackendV2, optimization_level: int, seed: int
) -> QuantumCircuit:
    target = target if isinstance(target, Target) else target.target
    if target.num_qubits is not None and target.num_qubits < circuit.num_qubits:
        raise ValueError(f"the circuit has {circuit.num_qubits} qubits, the target only {target.num_qubits}")
    passes = generate_preset_pass_manager(optimization_level, target=target, seed_transpiler=seed)
    return passes.run(circuit)


def _is_gate(instruction: CircuitInstruction) -> bool:
    return instruction.operation.name != "barrier"


def _is_two_qubit_gate(instruction: CircuitInstruction) -> bool:
    return _is_gate(instruction) and len(instruction.qubits) > 1
