"""Cutting a gate program into blocks of a few wires, along the circuit's dependencies rather than its text."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from qdeq_qiskit.backends.program import GateProgram, Operation, generator

# Terms of a layer: those of two rotations, or of a controlled one. More make fewer layers, but larger tables.
MOST_TERMS = 4


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


@dataclass(frozen=True)
class Layer:
    """Rotations on different wires, and what comes before them: U = Π_j exp(−iφ_j H_j/2) · F.

    Attributes:
        slots: of the angles φ_j.
        generators: H_j, (D, D) each; they commute.
        fixed: F, (D, D), unitary.
    """

    slots: list[int]
    generators: list[np.ndarray]
    fixed: np.ndarray

    @property
    def terms(self) -> list[tuple[dict[int, str], np.ndarray]]:
        """The layer's matrix as a sum: by slot which of "cos" and "sin" of φ/2 multiply, and the matrix, (D, D)."""
        found: list[tuple[dict[int, str], np.ndarray]] = [({}, self.fixed)]
        for slot, h in zip(self.slots, self.generators, strict=True):
            rest = np.eye(len(h)) - h @ h
            parts = [({slot: "cos"}, h @ h), ({slot: "sin"}, -1j * h), *([({}, rest)] if rest.any() else [])]
            found = [(weights | more, part @ matrix) for weights, matrix in found for more, part in parts]
        return found


def layers(block: Block) -> tuple[list[Layer], np.ndarray]:
    """The block as T · U_L ⋯ U_1.

    Each rotation is put into the earliest layer that its wires allow and that keeps to `MOST_TERMS`.

    Returns:
        The layers, U_1 first, and the trailing fixed unitary T.
    """
    found: list[Layer] = []
    earliest = dict.fromkeys(block.wires, 0)
    pending: dict[int, np.ndarray] = {}  # fixed gates by the layer that they come before
    for operation in block.operations:
        level = max(earliest[wire] for wire in operation.wires)
        if operation.slot is None:
            assert operation.matrix is not None
            matrix = embed(operation.wires, operation.matrix, block.wires)
            pending[level] = matrix @ pending[level] if level in pending else matrix
        else:
            h = embed(operation.wires, generator(operation.name), block.wires)
            while level < len(found) and not _has_room(found[level], h):
                level += 1
            if level == len(found):
                found.append(Layer([], [], np.eye(len(h))))
            found[level].slots.append(operation.slot)
            found[level].generators.append(h)
            level += 1
        earliest.update(dict.fromkeys(operation.wires, level))
    nothing = np.eye(2 ** len(block.wires))
    done = [replace(layer, fixed=pending.get(level, nothing)) for level, layer in enumerate(found)]
    return done, pending.get(len(found), nothing)


def _has_room(layer: Layer, generator: np.ndarray) -> bool:
    return len(replace(layer, slots=[*layer.slots, -1], generators=[*layer.generators, generator]).terms) <= MOST_TERMS
