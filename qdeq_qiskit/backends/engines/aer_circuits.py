r"""The circuits that the Aer engine runs: W's columns as one state, and the way back along which weights are read off.

Every parameter of a circuit given to Aer is the plain angle p of one Pauli rotation. A controlled rotation is split
into two of these, CRX(φ) = RX_t(φ/2) · RZX_{c,t}(−φ/2) and alike, because Aer 0.18.2 simulates a bound crx, cry or crz
at angle 0 and reports success.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Instruction, Parameter
from qiskit.quantum_info import Operator, SparsePauliOp

from qdeq_qiskit.backends.aer import require_aer
from qdeq_qiskit.backends.program import GateProgram, Operation, generator
from qdeq_qiskit.backends.slot_circuit import fixed_gate

# Each slot's gate as plain Pauli rotations: (gate, which of its qubits, p / φ). CRY's second half is a ZY rotation,
# which Aer has not: it is the ZX one between S† and S on the target, since S X S† = Y. All parts of a gate commute but
# for these two, so a gate with negative angles is its inverse.
_HALVES = {
    "crx": (("rx", (1,), 0.5), ("rzx", (0, 1), -0.5)),
    "cry": (("ry", (1,), 0.5), ("sdg", (1,), None), ("rzx", (0, 1), -0.5), ("s", (1,), None)),
    "crz": (("rz", (1,), 0.5), ("rzz", (0, 1), -0.5)),
}


@dataclass(frozen=True)
class BoundCircuit:
    """A circuit given to Aer, and how its A plain parameters follow from the slots: p_a = factors[a] φ[slots[a]].

    Attributes:
        circuit: with the parameters free.
        parameters: in the order of p.
    """

    circuit: QuantumCircuit
    parameters: tuple[Parameter, ...]
    slots: np.ndarray
    factors: np.ndarray

    def values(self, angles: np.ndarray) -> np.ndarray:
        """The bound values p, (A,), of angles φ, (G,)."""
        return self.factors * angles[self.slots]

    def from_state(self, state: np.ndarray) -> QuantumCircuit:
        """The circuit, started from a normalised state of all its qubits."""
        started = self.circuit.copy_empty_like()
        started.append(require_aer().library.SetStatevector(state), started.qubits)
        started.compose(self.circuit, inplace=True, copy=False)
        return started


def num_ancillas(num_columns: int) -> int:
    """m = ⌈log₂ d⌉ qubits, which count the columns."""
    return (num_columns - 1).bit_length()


def choi_circuit(program: GateProgram, num_columns: int) -> BoundCircuit:
    """W behind maximally entangled pairs of the m least significant wires and the ancillas; saves its state.

    Wire w is Aer's qubit n−1−w, so that rows are in wire order; the ancillas above them count the columns.
    """
    draft = _Draft(program, QuantumCircuit(program.num_qubits + num_ancillas(num_columns)))
    for qubit in range(num_ancillas(num_columns)):
        draft.circuit.h(qubit)
        draft.circuit.cx(qubit, program.num_qubits + qubit)
    for operation in program.operations:
        draft.append(operation)
    draft.save_state()
    return draft.finished()


def forward_circuit(program: GateProgram, ancillas: int) -> BoundCircuit:
    """W on states that ancillas count; saves what becomes of them."""
    draft = _Draft(program, QuantumCircuit(program.num_qubits + ancillas))
    for operation in program.operations:
        draft.append(operation)
    draft.save_state()
    return draft.finished()


def adjoint_circuit(program: GateProgram, ancillas: int, *, overlaps: bool = True, whole: bool = False) -> BoundCircuit:
    """W's gates undone from the last one on.

    Args:
        program: W.
        ancillas: qubits that count columns or states.
        overlaps: whether ⟨Y ⊗ H_j⟩ is saved, under the label j, wherever a gate j with an angle stands. Y acts on one
            more qubit, above all others, and H_j is the gate's generator.
        whole: whether all gates are undone and the state is saved; otherwise those before the first angle are left.
    """
    draft = _Draft(program, QuantumCircuit(program.num_qubits + ancillas + overlaps))
    left = program.num_slots
    for operation in reversed(program.operations):
        if left == 0 and not whole:
            break
        if operation.slot is not None:
            left -= 1
            if overlaps:
                qubits = [*draft.qubits(operation)[::-1], draft.circuit.num_qubits - 1]
                save = require_aer().library.SaveExpectationValue(_overlap(operation.name), label=str(operation.slot))
                draft.circuit.append(save, qubits)
        draft.append(operation, undo=True)
    if whole:
        draft.save_state()
    return draft.finished()


def _overlap(name: str) -> SparsePauliOp:
    """Y ⊗ H for a rotation's generator H, the first of its qubits most significant."""
    return SparsePauliOp("Y").tensor(SparsePauliOp.from_operator(Operator(generator(name))).simplify())


@dataclass(frozen=True)
class _Draft:
    """A circuit that a program's gates are appended to."""

    program: GateProgram
    circuit: QuantumCircuit
    _parameters: list[Parameter] = field(default_factory=list)
    _slots: list[int] = field(default_factory=list)
    _factors: list[float] = field(default_factory=list)

    def finished(self) -> BoundCircuit:
        slots, factors = np.array(self._slots, dtype=int), np.array(self._factors, dtype=float)
        return BoundCircuit(self.circuit, tuple(self._parameters), slots, factors)

    def save_state(self) -> None:
        self.circuit.append(require_aer().library.SaveStatevector(self.circuit.num_qubits), self.circuit.qubits)

    def qubits(self, operation: Operation) -> list[int]:
        """Aer's, in the order of the operation's wires."""
        return [self.program.num_qubits - 1 - wire for wire in operation.wires]

    def append(self, operation: Operation, *, undo: bool = False) -> None:
        """The operation, or its inverse."""
        qubits = self.qubits(operation)
        if operation.slot is None:
            gate: Instruction = fixed_gate(operation)
            self.circuit.append(gate.inverse() if undo else gate, qubits[::-1])
            return
        everywhere = tuple(range(len(qubits)))
        for name, which, factor in _HALVES.get(operation.name, ((operation.name, everywhere, 1.0),)):
            targets = [qubits[index] for index in which]
            if factor is None:
                getattr(self.circuit, name)(*targets)
                continue
            self._parameters.append(Parameter(f"p{len(self._parameters)}"))
            self._slots.append(operation.slot)
            self._factors.append(-factor if undo else factor)
            getattr(self.circuit, name)(self._parameters[-1], *targets)
