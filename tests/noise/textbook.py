"""Noise as textbooks write it, for circuits evolved by hand: Kraus operators on a density matrix, gate by gate.

Nothing here comes from `qdeq_qiskit.noise`; the simulation is Qiskit's `DensityMatrix`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import product
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from qiskit.quantum_info import DensityMatrix, Kraus
from scipy.linalg import expm

PAULIS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}
NATIVE = {"rz": 1, "sx": 0, "x": 0, "rx": 1, "ry": 1, "cz": 0, "ecr": 0, "cx": 0}
TWO_QUBIT = ("cz", "ecr", "cx")

# After a gate with a name on so many qubits: Kraus operators on all of its qubits, or None.
ErrorAfter = Callable[[str, int], "list[np.ndarray] | None"]


@dataclass(frozen=True)
class Compiled:
    """A circuit as noise sees a compiled one."""

    circuit: QuantumCircuit
    physical: tuple[int, ...]
    target: Any = None


def compiled(circuit: QuantumCircuit) -> Compiled:
    return Compiled(circuit, tuple(range(circuit.num_qubits)))


def random_circuit(
    seed: int, num_qubits: int = 3, size: int = 25, names: Sequence[str] = tuple(NATIVE)
) -> QuantumCircuit:
    """Native gates at random, each name at least once."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(num_qubits)
    chosen = [*names, *rng.choice(names, size - len(names))]
    for name in rng.permutation(chosen):
        qubits = rng.permutation(num_qubits)[: 2 if name in TWO_QUBIT else 1]
        getattr(circuit, name)(*rng.uniform(-3, 3, NATIVE[name]), *map(int, qubits))
    return circuit


def evolved(circuit: QuantumCircuit, error: ErrorAfter) -> DensityMatrix:
    """The state after the circuit, with an error after every gate."""
    state = DensityMatrix.from_label("0" * circuit.num_qubits)
    for instruction in circuit.data:
        if not isinstance(instruction.operation, Gate):
            continue
        qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        state = state.evolve(instruction.operation, qubits)
        operators = error(instruction.operation.name, len(qubits))
        if operators is not None:
            state = state.evolve(Kraus(operators), qubits)
    return state


def on_each(operators: list[np.ndarray], num_qubits: int) -> list[np.ndarray]:
    """A channel of one qubit on each of several."""
    return [reduce(np.kron, chosen) for chosen in product(operators, repeat=num_qubits)]


def in_turn(first: list[np.ndarray], second: list[np.ndarray]) -> list[np.ndarray]:
    """One channel after another."""
    return [after @ before for before in first for after in second]


def pauli_strings(num_qubits: int) -> list[np.ndarray]:
    return [reduce(np.kron, chosen) for chosen in product(PAULIS.values(), repeat=num_qubits)]


def depolarizing(p: float, num_qubits: int) -> list[np.ndarray]:
    identity, *others = pauli_strings(num_qubits)
    size = 4**num_qubits
    return [np.sqrt(1 - p * (size - 1) / size) * identity, *(np.sqrt(p / size) * string for string in others)]


def amplitude_damping(gamma: float) -> list[np.ndarray]:
    return [np.array([[1, 0], [0, np.sqrt(1 - gamma)]]), np.array([[0, np.sqrt(gamma)], [0, 0]])]


def phase_damping(gamma: float) -> list[np.ndarray]:
    return [np.array([[1, 0], [0, np.sqrt(1 - gamma)]]), np.array([[0, 0], [0, np.sqrt(gamma)]])]


def relaxation(t1: float, t2: float, duration: float) -> list[np.ndarray]:
    """Amplitude damping, then pure dephasing with 1/Tφ = 1/T2 − 1/(2 T1)."""
    pure = 1 / t2 - 1 / (2 * t1)
    return in_turn(amplitude_damping(1 - np.exp(-duration / t1)), phase_damping(1 - np.exp(-2 * duration * pure)))


def over_rotation(name: str, angle: float) -> list[np.ndarray]:
    x, y, z = PAULIS["X"], PAULIS["Y"], PAULIS["Z"]
    generator = {
        **{"x": x, "sx": x, "rx": x, "ry": y, "rz": z, "cz": np.kron(z, z)},
        # The first qubit is the right factor: the control of cx, and of the rzx that ecr is made of.
        **{"cx": np.kron(x, z), "ecr": np.kron(x, z)},
    }[name]
    return [expm(-0.5j * angle * generator)]


def twirled(operators: list[np.ndarray]) -> list[np.ndarray]:
    """The average over all Pauli strings P of P K P."""
    num_qubits = int(np.log2(len(operators[0])))
    return [string @ each @ string / 2**num_qubits for string in pauli_strings(num_qubits) for each in operators]
