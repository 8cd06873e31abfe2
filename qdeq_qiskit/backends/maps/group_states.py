"""States of groups of wires, and their tangents, grown gate block by gate block from those of single wires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from qdeq_qiskit.backends.cut import Piece
from qdeq_qiskit.backends.engines import TorchEngine


class Grown(NamedTuple):
    """ψ of some wires, and for each wire w the tangent τ_w, ψ with s⊥ in place of w's state s.

    Attributes:
        wires: in the order of the amplitudes, the first one most significant.
        moved: the wires in the order of the tangents; none where only ψ is wanted.
        vectors: ψ and the tangents, (2ᵐ, 1 + len(moved), B), complex.
    """

    wires: tuple[int, ...]
    moved: tuple[int, ...]
    vectors: Tensor

    @property
    def rows(self) -> Tensor:
        """The same sample by sample, (B, 2ᵐ, 1 + len(moved))."""
        amplitudes, kinds, batch = self.vectors.shape
        return self.vectors.flatten(0, 1).T.contiguous().view(batch, amplitudes, kinds)

    def divided(self, rows: Tensor, wires: Sequence[int]) -> Tensor:
        """`rows` with some of the wires in front, (B, 2ˢ, 2ᵐ⁻ˢ, 1 + len(moved))."""
        count = len(self.wires)
        rest = [wire for wire in self.wires if wire not in wires]
        axes = [1 + self.wires.index(wire) for wire in (*wires, *rest)]
        table = rows.view(len(rows), *(2,) * count, rows.shape[-1]).permute(0, *axes, count + 1)
        return table.reshape(len(rows), 2 ** len(wires), 2 ** len(rest), rows.shape[-1])

    def through(self, wires: Sequence[int], matrix: Tensor) -> Grown:
        """With a matrix applied to some of the wires, the first one its most significant."""
        order = (*wires, *(wire for wire in self.wires if wire not in wires))
        count, shape = len(self.wires), self.vectors.shape
        axes = [self.wires.index(wire) for wire in order]
        rest = shape[1] * shape[2]
        table = self.vectors.reshape(*(2,) * count, rest).permute(*axes, count)
        table = table.reshape(len(matrix), shape[0] // len(matrix) * rest)
        return Grown(order, self.moved, (matrix @ table).view(shape))


def joined(parts: Sequence[Grown]) -> Grown:
    """The product of several."""
    first, *others = parts
    for second in others:
        left, right = first.vectors, second.vectors
        state = left[:, None, :1] * right[None]  # ψψ and ψτ
        moved = left[:, None, 1:] * right[None, :, :1]  # τψ
        vectors = torch.cat((state, moved), dim=2).flatten(0, 1)
        first = Grown((*first.wires, *second.wires), (*second.moved, *first.moved), vectors)
    return first


class GroupStates:
    """The early part of a weight block on one group of wires.

    Args:
        piece: the early part's gates there.
        device: where the tensors live.
        dtype: real dtype.

    Attributes:
        wires: the group.
        moved: the wires of its tangents, in order.
        engine: computes the factors of its gates; None for a wire alone, which has none.
        slots: of its gates among the weight block's.
    """

    def __init__(self, piece: Piece, *, device: torch.device, dtype: torch.dtype) -> None:
        self.wires = piece.wires
        self.slots = torch.tensor(piece.slots, dtype=torch.long, device=device)
        self.engine: TorchEngine | None = None
        self._blocks: list[tuple[int, ...]] = []
        if piece.program.operations:
            size = 2 ** len(piece.wires)
            self.engine = TorchEngine(piece.program, num_columns=size, device=device, dtype=dtype)
            self._blocks = [tuple(piece.wires[wire] for wire in wires) for wires in self.engine.block_wires]
        # The order follows from the blocks alone: seen with nothing in them.
        nothing = {wire: Grown((wire,), (wire,), torch.zeros(2, 2, 0)) for wire in self.wires}
        self.moved = self._joined([torch.zeros(self.shape[1:])] * len(self._blocks), nothing).moved

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of the engine's factors, (F, D, D); no factors without an engine."""
        if self.engine is None:
            return 0, 1, 1
        blocks = len(self.engine.block_wires)
        size = self.engine.factor_rows // blocks
        return blocks, size, size

    def grown(self, factors: Tensor | None, singles: Mapping[int, Grown]) -> Grown:
        """ψ and its tangents.

        Args:
            factors: of the engine, (F, D, D), if there is one.
            singles: of each of the circuit's wires.
        """
        return self._joined([] if factors is None else factors.unbind(), singles)

    def _joined(self, factors: Sequence[Tensor], singles: Mapping[int, Grown]) -> Grown:
        parts = [singles[wire] for wire in self.wires]
        for block, factor in zip(self._blocks, factors, strict=True):
            touched = [part for part in parts if not set(block).isdisjoint(part.wires)]
            parts = [part for part in parts if set(block).isdisjoint(part.wires)]
            parts.append(joined(touched).through(block, factor))
        return joined(parts)
