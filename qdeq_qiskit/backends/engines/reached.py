r"""W on the basis states that inputs can reach, without work for what is still zero or still the identity.

A bit of a column's number enters with the first block that acts on its wire: until then the columns are the identity
on that wire, or \|0⟩ where the number has no such bit. So the first blocks act on few numbers. After each block the
columns have one axis for every wire that some block has acted on, and one for every bit that has entered.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from qdeq_qiskit.backends.axes import Permutation

Axis = tuple[str, int]
"""("out" or "in", wire)."""


@dataclass(frozen=True)
class _Step:
    """How one block acts.

    Attributes:
        matrix: from a block's axes, outputs and then inputs, to: outputs and entering bits; inputs of wires that are
            acted on already; inputs of wires at |0⟩.
        sizes: of these three.
        after: from outputs, entering bits and all else to what the next block wants in front, or to the answer.
        completed: sizes of all outputs and of all bits, if the last bit enters here: the columns that are not wanted
            are cut off then, and the others are one axis, of any length, from there on.
        rows: of what the next block wants, or of the answer.
    """

    matrix: Permutation
    sizes: tuple[int, int, int]
    after: Permutation
    completed: tuple[int, int] | None
    rows: int


class ReachedColumns:
    """The first d columns of a product of blocks.

    Attributes:
        multiplications: complex ones of all blocks together.

    Args:
        num_qubits: n.
        num_columns: d.
        wires: of the blocks, as many of each; together all n.
    """

    def __init__(self, num_qubits: int, num_columns: int, wires: list[tuple[int, ...]]) -> None:
        self._columns = num_columns
        self._size = 2 ** len(wires[0])
        bits = tuple(range(num_qubits - (num_columns - 1).bit_length(), num_qubits))
        plans = _plans(wires, bits)
        self.multiplications = sum(
            2 ** (len(plan.rows) + len(plan.before)) * (num_columns if plan.complete else 1) for plan in plans
        )
        self._steps = []
        for plan, following in zip(plans, [*plans[1:], None], strict=True):
            completes = not plan.complete and (following is None or following.complete)
            wanted = _axes("out", range(num_qubits)) if following is None else following.before
            if completes:
                wanted = [*wanted, *_axes("in", bits)]
            front = num_qubits if following is None else len(following.old)
            self._steps.append(
                _Step(
                    Permutation.between(plan.block, [*plan.rows, *_axes("in", (*plan.old, *plan.fresh))]),
                    (2 ** len(plan.rows), 2 ** len(plan.old), 2 ** len(plan.fresh)),
                    Permutation.between([*plan.rows, *plan.before[len(plan.old) :]], wanted),
                    (2 ** (len(wanted) - len(bits)), 2 ** len(bits)) if completes else None,
                    2**front,
                )
            )

    def start(self, like: Tensor) -> Tensor:
        """What enters the first block, (1, 1): nothing has been acted on."""
        return torch.ones(1, 1, dtype=like.dtype, device=like.device)

    def acting(self, index: int, matrix: Tensor) -> Tensor:
        """The part of a block's matrix, (D, D), that acts on what enters it."""
        step = self._steps[index]
        return step.matrix(matrix).reshape(step.sizes)[:, :, 0]

    def whole(self, index: int, part: Tensor) -> Tensor:
        """The transpose of `acting`: a matrix, (D, D), that is zero where nothing is acted on."""
        step = self._steps[index]
        padded = torch.nn.functional.pad(part.unsqueeze(2), (0, step.sizes[2] - 1))
        return step.matrix.inverse(padded).reshape(self._size, self._size)

    def advance(self, index: int, product: Tensor) -> Tensor:
        """What enters the next block, or the answer, (2ⁿ, d), of what `acting` times what entered is."""
        step = self._steps[index]
        moved = step.after(product)
        if step.completed is not None:
            moved = moved.reshape(step.completed)[:, : self._columns]
        return moved.reshape(step.rows, -1)

    def retreat(self, index: int, cotangent: Tensor) -> Tensor:
        """The transpose of `advance`."""
        step = self._steps[index]
        if step.completed is not None:
            outputs, columns = step.completed
            cotangent = torch.nn.functional.pad(cotangent.reshape(outputs, -1), (0, columns - self._columns))
        return step.after.inverse(cotangent).reshape(step.sizes[0], -1)


@dataclass(frozen=True)
class _Plan:
    """Axes around one block.

    Attributes:
        wires: the block's.
        old: those that a block before has acted on.
        entering: those of the others that have a bit.
        fresh: those that have none.
        before: axes of what enters, outputs of `old` in front; without bits if all have entered.
        complete: whether all bits have entered before.
    """

    wires: tuple[int, ...]
    old: tuple[int, ...]
    entering: tuple[int, ...]
    fresh: tuple[int, ...]
    before: list[Axis]
    complete: bool

    @property
    def block(self) -> list[Axis]:
        """Axes of the block's matrix."""
        return [*_axes("out", self.wires), *_axes("in", self.wires)]

    @property
    def rows(self) -> list[Axis]:
        """Axes that the block makes."""
        return [*_axes("out", self.wires), *_axes("in", self.entering)]


def _plans(wires: list[tuple[int, ...]], bits: tuple[int, ...]) -> list[_Plan]:
    plans, outs, ins = [], set[int](), set[int]()
    for chosen in wires:
        old = tuple(wire for wire in chosen if wire in outs)
        new = [wire for wire in chosen if wire not in outs]
        complete = len(ins) == len(bits)
        # Bits come last, in their order: long runs of memory are moved as they are.
        kept = [] if complete else sorted(ins)
        before = [*_axes("out", (*old, *sorted(outs.difference(old)))), *_axes("in", kept)]
        entering, fresh = (tuple(wire for wire in new if (wire in bits) is has) for has in (True, False))
        plans.append(_Plan(chosen, old, entering, fresh, before, complete))
        outs.update(chosen)
        ins.update(entering)
    return plans


def _axes(kind: str, wires: Iterable[int]) -> list[Axis]:
    return [(kind, wire) for wire in wires]
