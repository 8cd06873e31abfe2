"""What a processor measures: groups of observables that share a circuit, with their outcomes as operators.

Observables that commute wire by wire are measured together. Before the measurement, every wire whose X or Y is wanted
is turned by native gates, which are as noisy as all others; readout errors are folded into the outcomes' operators.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator, PauliList, SparsePauliOp

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.noisy.pauli_transfer import ChannelOf, Matrix, Step, noisy_steps
from qdeq_qiskit.backends.noisy.weight_block import WeightBlock
from qdeq_qiskit.backends.program import AngleMap, GateProgram, Operation
from qdeq_qiskit.noise import CircuitNoise


@dataclass(frozen=True, eq=False)
class MeasuredGroup:
    """Pauli strings that one circuit measures.

    Attributes:
        wires: what is measured, S of n wires.
        change: native gates before the measurement, on all wires.
        signs: what each outcome (of `wires`, the first most significant) counts for each string, (T, 2^S), ±1.
        weights: of the strings in the K observables, (K, T).
    """

    wires: tuple[int, ...]
    change: QuantumCircuit = field(repr=False)
    signs: Matrix = field(repr=False)
    weights: Matrix = field(repr=False)


@dataclass(frozen=True, eq=False)
class MeasuredObservables:
    """K observables as groups, and the multiple of the identity in each.

    Attributes:
        groups: one circuit each; none if all observables are multiples of the identity.
        constants: (K,).
    """

    groups: tuple[MeasuredGroup, ...]
    constants: Matrix = field(repr=False)

    @property
    def num_outcomes(self) -> int:
        """How many outcomes all circuits together have."""
        return sum(group.signs.shape[1] for group in self.groups)

    @classmethod
    def of(cls, compiled: CompiledCircuit) -> MeasuredObservables:
        """The observables of a compiled circuit."""
        table = _coefficients(compiled.observables)
        identity = "I" * compiled.num_qubits
        constants = table.pop(identity, np.zeros(len(compiled.observables)))
        groups = []
        if table:
            for strings in PauliList(sorted(table)).group_qubit_wise_commuting():
                groups.append(_group(strings, table, compiled))
        return cls(tuple(groups), constants)


def expectation_rows(observables: MeasuredObservables, noise: CircuitNoise, num_wires: int) -> Matrix:
    """T of the observables as they are measured, with all errors of readout and change of basis: (K, 4ⁿ)."""
    rows = np.zeros((len(observables.constants), 4**num_wires))
    rows[:, 0] = observables.constants
    for group in observables.groups:
        outcomes = outcome_rows(group, noise, num_wires)
        rows += group.weights @ (group.signs @ outcomes)
    return rows


def outcome_rows(group: MeasuredGroup, noise: CircuitNoise, num_wires: int) -> Matrix:
    """T of the projectors on the measured outcomes, before the change of basis: (2^S, 4ⁿ)."""
    rows = np.ones((1, 1))
    for wire in range(num_wires):
        single = np.array([[1.0, 0.0, 0.0, 0.0]])
        if wire in group.wires:
            zero, one = noise.assignment(wire).T
            # Σ_p P(m | p) |p⟩⟨p| = ½ (P(m|0) + P(m|1)) + ½ (P(m|0) − P(m|1)) Z
            single = np.zeros((2, 4))
            single[:, 0], single[:, 3] = (zero + one) / 2, (zero - one) / 2
        rows = np.einsum("mp,lq->mlpq", rows, single).reshape(len(rows) * len(single), -1)
    change = WeightBlock(
        change_steps(group.change, noise.channel), num_wires, device=torch.device("cpu"), dtype=torch.float64
    )
    pulled: Matrix = change.pull_back(torch.as_tensor(rows), torch.zeros(0, dtype=torch.float64)).numpy()
    return pulled


def change_steps(change: QuantumCircuit, channel: ChannelOf | None) -> list[Step]:
    """The gates of a change of basis with their noise."""
    operations = []
    for instruction in change.data:
        qubits = tuple(change.find_bit(qubit).index for qubit in instruction.qubits)
        gate = instruction.operation
        operations.append(Operation(gate.name, qubits[::-1], matrix=Operator(gate).data))
    return noisy_steps(GateProgram(change.num_qubits, tuple(operations), AngleMap((), ())), channel)


def _coefficients(observables: Sequence[SparsePauliOp]) -> dict[str, Matrix]:
    """For each Pauli string, by its label, its coefficients in the observables, (K,)."""
    table: dict[str, Matrix] = {}
    for index, observable in enumerate(observables):
        for label, coefficient in observable.simplify().to_list():
            column = table.setdefault(label, np.zeros(len(observables)))
            column[index] += np.real(coefficient)
    return {label: column for label, column in table.items() if column.any()}


def _group(strings: PauliList, table: dict[str, Matrix], compiled: CompiledCircuit) -> MeasuredGroup:
    support = strings.x | strings.z  # (T, n), qubit by qubit
    wires = tuple(map(int, np.flatnonzero(support.any(axis=0))))
    bits = np.array(list(np.ndindex(*(2,) * len(wires)))).reshape(-1, len(wires))
    letters = ["IZXY"[int(z) + 2 * int(x)] for x, z in zip(strings.x.any(axis=0), strings.z.any(axis=0), strict=True)]
    return MeasuredGroup(
        wires=wires,
        change=compiled.basis_change("".join(reversed(letters))),
        signs=1.0 - 2.0 * (support[:, wires].astype(int) @ bits.T % 2),
        weights=np.stack([table[label] for label in strings.to_labels()], axis=1),
    )
