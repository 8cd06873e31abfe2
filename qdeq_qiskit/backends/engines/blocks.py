"""Cutting a gate program into blocks of a few wires, along the circuit's dependencies rather than its text."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from qdeq_qiskit.backends.program import GateProgram, Operation, generator


@dataclass(frozen=True)
class Block:
    """Consecutive operations on few wires; `wires[0]` is the most significant factor of the block's matrix."""

    wires: tuple[int, ...]
    operations: tuple[Operation, ...]


def cut_into_blocks(program: GateProgram, width: int) -> list[Block]:
    """Blocks that, applied in order, are the program; each takes the set of wires that absorbs most operations next.

    Args:
        program: any gate program.
        width: wires of a block; an operation on more wires gets a block as wide as itself.
    """
    width = min(width, program.num_qubits)
    remaining = list(program.operations)
    blocks = []
    while remaining:
        wires = remaining[0].wires
        if len(wires) <= width:
            candidates = combinations(range(program.num_qubits), width)
            wires = max(candidates, key=lambda chosen: len(_absorbed(remaining, chosen)))
        taken = _absorbed(remaining, wires)
        blocks.append(Block(tuple(wires), tuple(remaining[index] for index in taken)))
        gone = set(taken)
        remaining = [operation for index, operation in enumerate(remaining) if index not in gone]
    return blocks


def _absorbed(operations: list[Operation], wires: tuple[int, ...]) -> list[int]:
    """Which of the operations can act next on `wires` alone, nothing outside being waited for."""
    free = set(wires)
    taken = []
    for index, operation in enumerate(operations):
        if free.issuperset(operation.wires):
            taken.append(index)
        else:
            free.difference_update(operation.wires)
            if not free:
                break
    return taken


def embed(operation_wires: tuple[int, ...], matrix: np.ndarray, wires: tuple[int, ...]) -> np.ndarray:
    """A gate's matrix, (2ᵐ, 2ᵐ), on the wires of a block, (2ᵇ, 2ᵇ)."""
    m, b = len(operation_wires), len(wires)
    rest = [wire for wire in wires if wire not in operation_wires]
    full = np.kron(matrix, np.eye(2 ** (b - m))).reshape((2,) * (2 * b))
    position = {wire: axis for axis, wire in enumerate((*operation_wires, *rest))}
    order = [position[wire] for wire in wires]
    return full.transpose(*order, *(b + axis for axis in order)).reshape(2**b, 2**b)


def factors(block: Block) -> tuple[list[int], list[np.ndarray], list[np.ndarray], np.ndarray]:
    """The block as a product of rotations, each with the fixed gates before it.

    Returns:
        slots, generators H_j and fixed unitaries F_j, so that the block is T · Π_j exp(−iφ_j H_j/2) F_j (later j to the
        left); and the trailing fixed unitary T.
    """
    size = 2 ** len(block.wires)
    slots: list[int] = []
    generators: list[np.ndarray] = []
    fixed: list[np.ndarray] = []
    pending = np.eye(size, dtype=complex)
    for operation in block.operations:
        if operation.slot is None:
            assert operation.matrix is not None
            pending = embed(operation.wires, operation.matrix, block.wires) @ pending
        else:
            slots.append(operation.slot)
            generators.append(embed(operation.wires, generator(operation.name), block.wires))
            fixed.append(pending)
            pending = np.eye(size, dtype=complex)
    return slots, generators, fixed, pending
