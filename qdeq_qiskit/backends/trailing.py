"""Gates at the end of a circuit that only permute basis states: they go into diagonal observables, at no cost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from qdeq_qiskit.backends.program import GateProgram, Operation


def split_trailing(program: GateProgram) -> tuple[GateProgram, tuple[Operation, ...]]:
    """The program without its last gates that permute basis states, up to phases, and those gates, in order.

    Such are CX, X, SWAP, CZ, S and alike, but not H. A diagonal observable stays diagonal behind them.
    """
    blocked: set[int] = set()
    kept: list[Operation] = []
    trailing: list[Operation] = []
    for operation in reversed(program.operations):
        if not blocked.intersection(operation.wires) and _permutes(operation):
            trailing.append(operation)
        else:
            blocked.update(operation.wires)
            kept.append(operation)
    return GateProgram(program.num_qubits, tuple(kept[::-1]), program.angle_map), tuple(trailing[::-1])


def diagonals_behind(diagonals: np.ndarray, operations: Sequence[Operation]) -> np.ndarray:
    """Diagonals of P† S_k P for the product P of gates that permute basis states, (K, 2ⁿ), from those of S_k."""
    outputs, states = diagonals.shape
    qubits = states.bit_length() - 1
    for operation in reversed(operations):
        assert operation.matrix is not None
        place = np.abs(operation.matrix).argmax(axis=0)  # basis state j of the gate's wires becomes place[j]
        axes = [1 + wire for wire in operation.wires]
        front = np.moveaxis(diagonals.reshape(outputs, *(2,) * qubits), axes, range(len(axes)))
        moved = front.reshape(len(place), -1)[place].reshape(front.shape)
        diagonals = np.moveaxis(moved, range(len(axes)), axes).reshape(outputs, states)
    return diagonals


def _permutes(operation: Operation) -> bool:
    if operation.matrix is None:
        return False
    entries = np.abs(operation.matrix) > 1e-12
    return bool((entries.sum(axis=0) == 1).all())
