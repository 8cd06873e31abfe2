"""The weight block with its noise, backwards: observables as its input sees them, differentiable in the weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from qdeq_qiskit.backends.noisy.pauli_blocks import PauliBlock, operator_blocks
from qdeq_qiskit.backends.noisy.pauli_transfer import Step


class WeightBlock:
    """A channel of gates and noise, applied backwards to operators: T ↦ T R(φ).

    Args:
        steps: the gates with their noise.
        num_wires: n.
        device: where tensors live.
        dtype: real dtype.
    """

    def __init__(self, steps: Sequence[Step], num_wires: int, *, device: torch.device, dtype: torch.dtype) -> None:
        self.num_wires = num_wires
        self._stages = [
            _Stage(block, index, device, dtype) for index, block in enumerate(operator_blocks(steps, num_wires))
        ]
        rotations = [rotation for stage in self._stages for rotation in stage.block.rotations]
        self._slots = torch.tensor([rotation.slot for rotation in rotations], dtype=torch.long, device=device)
        self._scales = torch.tensor([rotation.scale for rotation in rotations], dtype=dtype, device=device)

    def pull_back(self, rows: Tensor, angles: Tensor) -> Tensor:
        """The operators before the block, (K, 4ⁿ), of those after it; differentiable in φ to every order.

        Args:
            rows: T, (K, 4ⁿ), constants.
            angles: φ, (G,).
        """
        if not self._stages:
            return rows
        phi = angles.index_select(0, self._slots) * self._scales
        if torch.is_grad_enabled() and phi.requires_grad:
            pulled: Tensor = _PullBack.apply(phi, rows, self)
            return pulled
        return self.evaluate(rows, phi, keep=False)[0]

    def evaluate(self, rows: Tensor, phi: Tensor, *, keep: bool) -> tuple[Tensor, list[Tensor]]:
        """T R, and for each stage its coordinates before each of its rotations, (g, 4ᵇ, N); nothing is recorded.

        Args:
            rows: T, (K, 4ⁿ).
            phi: an angle for each rotation.
            keep: whether those coordinates are wanted; many outcomes on many wires make them large.
        """
        turns = _turns(phi)
        table, order = rows.T.contiguous(), list(range(self.num_wires))
        kept: list[Tensor] = []
        end = len(phi)
        for stage in reversed(self._stages):
            table, order = _to_front(table, order, stage.block.wires)
            start = end - stage.count
            table, before = stage.backwards(table, turns[start:end], keep=keep)
            if keep:
                kept.append(before)
            end = start
        return self._natural(table, order).T.contiguous(), kept[::-1]

    def recorded(self, rows: Tensor, phi: Tensor) -> Tensor:
        """T R as a graph of autograd: slower, and differentiable to every order."""
        cos, sin = phi.cos(), phi.sin()
        table, order = rows.T, list(range(self.num_wires))
        end = len(phi)
        for stage in reversed(self._stages):
            table, order = _to_front(table, order, stage.block.wires)
            start = end - stage.count
            table = stage.recorded(table, cos[start:end], sin[start:end])
            end = start
        return self._natural(table, order).T

    def slopes(self, phi: Tensor, kept: list[Tensor], cotangent: Tensor) -> Tensor:
        """∂L/∂φ from ∂L/∂(T R), (K, 4ⁿ), and what `evaluate` has kept."""
        cos, sin = phi.cos(), phi.sin()
        turns = _turns(phi)
        table, order = cotangent.T.contiguous(), list(range(self.num_wires))
        found = []
        start = 0
        for stage, before in zip(self._stages, kept, strict=True):
            table, order = _to_front(table, order, stage.block.wires)
            end = start + stage.count
            table, gram = stage.forwards(table, turns[start:end], before)
            diagonal, skew = gram[:, 0, 0] + gram[:, 1, 1], gram[:, 0, 1] - gram[:, 1, 0]
            found.append(cos[start:end] * skew - sin[start:end] * diagonal)
            start = end
        return torch.cat(found)

    def _natural(self, table: Tensor, order: list[int]) -> Tensor:
        return _to_front(table, order, tuple(range(self.num_wires)))[0]


class _Stage:
    """One block with its matrices on the device; Pauli coordinates are the first axis, all else the second."""

    def __init__(self, block: PauliBlock, index: int, device: torch.device, dtype: torch.dtype) -> None:
        self.block = block
        self.count = len(block.rotations)
        self._matrices = [torch.as_tensor(matrix, dtype=dtype, device=device) for matrix in block.matrices]
        self._transposed = [matrix.T.contiguous() for matrix in self._matrices]

    def backwards(self, table: Tensor, turns: Tensor, *, keep: bool) -> tuple[Tensor, Tensor]:
        """Rᵀ applied, (4ᵇ, N), and what stood before each rotation, (g, 4ᵇ, N); of no use if it is not kept."""
        before = table.new_empty(self.count if keep else min(self.count, 1), *table.shape)
        after = torch.empty_like(table)
        for index in range(self.count - 1, -1, -1):
            stay = self.block.rotations[index].stay
            here = before[index if keep else 0]
            torch.mm(self._transposed[index + 1], table, out=here)
            after[:stay].copy_(here[:stay])
            torch.mm(turns[index], here[stay:].view(2, -1), out=after[stay:].view(2, -1))
            table = after
        return self._transposed[0] @ table, before

    def forwards(self, table: Tensor, turns: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """R applied to a cotangent, and its products with what stood before each rotation, (g, 2, 2)."""
        cotangents = table.new_empty(self.count, *table.shape)
        after = torch.empty_like(table)
        for index, rotation in enumerate(self.block.rotations):
            stay = rotation.stay
            here = cotangents[index]
            torch.mm(self._matrices[index], table, out=here)
            after[:stay].copy_(here[:stay])
            torch.mm(turns[index].T, here[stay:].view(2, -1), out=after[stay:].view(2, -1))
            table = after
        if not self.count:
            return self._matrices[0] @ table, table.new_zeros(0, 2, 2)
        stay = self.block.rotations[0].stay
        pairs = (part[:, stay:].reshape(self.count, 2, -1) for part in (cotangents, before))
        left, right = pairs
        return self._matrices[-1] @ table, torch.bmm(left, right.mT)

    def recorded(self, table: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        for index in range(self.count - 1, -1, -1):
            rotation = self.block.rotations[index]
            table = self._transposed[index + 1] @ table
            stay, first, second = table.split((rotation.stay, rotation.pairs, rotation.pairs))
            c, s = cos[index], sin[index]
            table = torch.cat((stay, c * first + s * second, c * second - s * first))
        return self._transposed[0] @ table


class _PullBack(torch.autograd.Function):
    """`WeightBlock.evaluate`; a second derivative goes through `recorded`."""

    @staticmethod
    def forward(ctx: Any, phi: Tensor, rows: Tensor, block: WeightBlock) -> Tensor:
        pulled, ctx.kept = block.evaluate(rows, phi, keep=True)
        ctx.block = block
        ctx.save_for_backward(phi, rows)
        return pulled

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None, None]:
        phi, rows = ctx.saved_tensors
        (cotangent,) = cotangents
        if not torch.is_grad_enabled():
            return ctx.block.slopes(phi, ctx.kept, cotangent), None, None
        # An alias: the cotangent may depend on φ in ways that are for autograd to follow, not for this node.
        alias = phi.view_as(phi)
        pulled = ctx.block.recorded(rows, alias)
        (gradient,) = torch.autograd.grad(pulled, alias, cotangent, create_graph=True)
        return gradient, None, None


def _turns(phi: Tensor) -> Tensor:
    """What each rotation does backwards to (a, b), (g, 2, 2)."""
    cos, sin = phi.cos(), phi.sin()
    return torch.stack((cos, sin, -sin, cos), dim=-1).view(-1, 2, 2)


def _to_front(table: Tensor, order: list[int], wires: tuple[int, ...]) -> tuple[Tensor, list[int]]:
    """The table, (4ᵇ, 4ⁿ⁻ᵇ·K), with the axes of some wires first, and the new order of the wires."""
    rest = sorted(set(order).difference(wires))  # sorted, so that both directions have the same order
    wanted = [*wires, *rest]
    if wanted != order:
        tensor = table.reshape(*(4,) * len(order), -1)
        table = tensor.permute(*(order.index(wire) for wire in wanted), len(order)).contiguous()
    return table.reshape(4 ** len(wires), -1), wanted
