"""Steps gathered into blocks of a few wires, so that everything fixed between two rotations is one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from qdeq_qiskit.backends.noisy.pauli_transfer import Matrix, Step, on_wires, paired

# On so many wires all gates between two rotations make one dense matrix; on more, blocks of `_WIDTH` wires do.
DENSE_WIRES = 4
_WIDTH = 2

# What is smaller in a fused matrix is rounding, and reaches no further string.
_ROUNDING = 1e-14

# A wire that joins is in |0⟩: 1 becomes 1 + Z.
_JOIN = np.zeros((4, 4))
_JOIN[[0, 3], 0] = 1.0


@dataclass(frozen=True)
class Rotation:
    """A Pauli rotation of coordinates in an order of their own: (those that stay, a, b).

    Attributes:
        slot: index of its angle.
        scale: what the angle is multiplied by.
        stay: how many coordinates stay.
        pairs: how many a there are, and as many b: a' = cos a − sin b, b' = sin a + cos b.
    """

    slot: int
    scale: float
    stay: int
    pairs: int


@dataclass(frozen=True)
class PauliBlock:
    """matrices[0], rotations[0], matrices[1], ..., matrices[g] on the Pauli coordinates of a few wires.

    Attributes:
        wires: the most significant first.
        joined: how many of the wires, the last ones, are in |0⟩ before the block, and have no coordinates yet.
        matrices: the last one leads to all strings on the wires in their order, (4ᵇ, ·).
        rotations: g of them.
    """

    wires: tuple[int, ...]
    joined: int
    matrices: tuple[Matrix, ...]
    rotations: tuple[Rotation, ...]


def operator_blocks(steps: Sequence[Step], num_wires: int) -> list[PauliBlock]:
    """The blocks of a channel on all wires, in the order in which they act on states."""
    return [_block(wires, some, joined=0) for wires, some in _cut(steps, num_wires)]


def state_blocks(steps: Sequence[Step], num_wires: int) -> list[PauliBlock]:
    """The blocks that prepare a state from |0…0⟩; wires join when a block first touches them.

    Coordinates that cannot be reached, which for a tree of real amplitudes are nearly half of all, are left out of the
    first block, and are so altogether where one block is all.
    """
    present: set[int] = set()
    blocks = []
    for wires, some in _cut(steps, num_wires):
        order = (*(wire for wire in wires if wire in present), *(wire for wire in wires if wire not in present))
        blocks.append(_block(order, some, joined=sum(wire not in present for wire in wires)))
        present.update(wires)
    return blocks


def _cut(steps: Sequence[Step], num_wires: int) -> list[tuple[tuple[int, ...], list[Step]]]:
    """Wires and steps of blocks that, one after the other, are all the steps."""
    width = num_wires if num_wires <= DENSE_WIRES else _WIDTH
    remaining = list(steps)
    blocks = []
    while remaining:
        wires = remaining[0].wires
        if len(wires) <= width:
            candidates = combinations(range(num_wires), width)
            wires = max(candidates, key=lambda chosen: len(_absorbed(remaining, chosen)))
        taken = _absorbed(remaining, wires)
        blocks.append((tuple(wires), [remaining[index] for index in taken]))
        gone = set(taken)
        remaining = [step for index, step in enumerate(remaining) if index not in gone]
    return blocks


def _absorbed(steps: list[Step], wires: tuple[int, ...]) -> list[int]:
    """Which of the steps can act next on `wires` alone, nothing outside being waited for."""
    free = set(wires)
    taken = []
    for index, step in enumerate(steps):
        if free.issuperset(step.wires):
            taken.append(index)
        else:
            free.difference_update(step.wires)
            if not free:
                break
    return taken


def _block(wires: tuple[int, ...], steps: list[Step], *, joined: int) -> PauliBlock:
    """Fuses the steps; with all wires joining, coordinates that cannot be reached are left out."""
    size, trim = 4 ** len(wires), joined == len(wires)
    absent = set(wires[len(wires) - joined :])
    pending = np.eye(size)[:, :: 4**joined]
    matrices: list[Matrix] = []
    rotations: list[Rotation] = []
    for step in steps:
        pending = _join(pending, wires, absent.intersection(step.wires))
        absent.difference_update(step.wires)
        for turn in step.turns:
            frame, rotation = _frame(turn.pauli, step.wires, wires, _reached(pending) if trim else None)
            rotations.append(Rotation(turn.slot, turn.scale, *rotation))
            matrices.append(pending[frame])
            pending = np.eye(size)[:, frame]
        if step.transfer is not None:
            pending = on_wires(step.transfer, step.wires, pending, wires)
    matrices.append(_join(pending, wires, absent))
    return PauliBlock(wires, joined, tuple(matrices), tuple(rotations))


def _join(pending: Matrix, wires: tuple[int, ...], new: set[int]) -> Matrix:
    for wire in sorted(new):
        pending = on_wires(_JOIN, (wire,), pending, wires)
    return pending


def _reached(pending: Matrix) -> NDArray[np.bool_]:
    return np.abs(pending).max(axis=1) > _ROUNDING


def _frame(
    pauli: str, wires: tuple[int, ...], block_wires: tuple[int, ...], reached: NDArray[np.bool_] | None
) -> tuple[NDArray[np.intp], tuple[int, int]]:
    """The order (stay, a, b) of the block's coordinates for a rotation, and how many stay and how many a there are."""
    letters = dict(zip(wires, pauli, strict=True))
    stay, first, second = paired("".join(letters.get(wire, "i") for wire in block_wires))
    if reached is not None:
        stay = stay[reached[stay]]
        either = reached[first] | reached[second]
        first, second = first[either], second[either]
    return np.concatenate((stay, first, second)), (len(stay), len(first))
