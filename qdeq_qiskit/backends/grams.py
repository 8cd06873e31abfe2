r"""Real parts of W† S_k W for diagonal observables, and their gradient, with as few products as the signs allow.

With real and imaginary rows of the columns stacked, Q, the operator is :math:`Q^T S_k Q`, which is
:math:`\sum_a s_k(a)\, Q_a^T Q_a` for any grouping of the rows in which s_k is constant on each group a. Observables on
the first half of the wires share one grouping (by the first half of the bits), those on the second half another, so K
operators cost two sets of Gram matrices instead of K products.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# With fewer qubits one product with all signs at once is faster than many small Gram matrices.
_FEWEST_QUBITS_TO_GROUP = 6


class SignedGrams:
    """Re(W† S_k W) of K diagonal observables.

    Args:
        diagonals: s_k, (K, 2ⁿ), in wire order.
    """

    def __init__(self, diagonals: Tensor) -> None:
        self.diagonals = diagonals
        # One sign for each row of the stacked real and imaginary parts, (K, 2·2ⁿ, 1).
        self._row_signs = torch.cat((diagonals, diagonals), dim=1).unsqueeze(-1)
        self._halves = _halves(diagonals)
        if self._halves is not None:
            self._order = torch.cat([half.members for half in self._halves]).argsort()

    def to(self, device: torch.device, dtype: torch.dtype) -> SignedGrams:
        """The same on another device or in another precision."""
        return SignedGrams(self.diagonals.to(device, dtype))

    def operators(self, columns: Tensor) -> Tensor:
        """(K, d, d), symmetric, from complex columns, (2ⁿ, d); differentiable to every order."""
        return _Operators.apply(columns, self)

    def forward(self, columns: Tensor) -> Tensor:
        """`operators`, nothing being recorded by hand."""
        parts = _parts(columns)
        if self._halves is None:
            rows = parts.flatten(0, 1)
            return torch.matmul((rows * self._row_signs).mT, rows)
        features = columns.shape[1]
        found = []
        for half in self._halves:
            rows = half.grouped(parts)
            found.append((half.signs @ torch.bmm(rows.mT, rows).flatten(1)).view(-1, features, features))
        return torch.cat(found).index_select(0, self._order)

    def pullback(self, columns: Tensor, cotangent: Tensor) -> Tensor:
        """∂L/∂columns, (2ⁿ, d), complex, from ∂L/∂operators, (K, d, d)."""
        parts = _parts(columns)
        symmetric = cotangent + cotangent.mT
        if self._halves is None:
            rows = parts.flatten(0, 1)
            result = (self._row_signs * torch.matmul(rows, symmetric)).sum(0).view_as(parts)
        else:
            result = torch.zeros_like(parts)
            for half in self._halves:
                weighted = half.signs.T @ symmetric.index_select(0, half.members).flatten(1)
                products = torch.bmm(half.grouped(parts), weighted.view(-1, *symmetric.shape[1:]))
                result += half.ungrouped(products, parts.shape)
        return torch.complex(result[0], result[1])


@dataclass(frozen=True)
class _Half:
    """The observables that see one half of the wires only.

    Attributes:
        members: which of the observables, (k,).
        signs: their diagonals as functions of that half's bits, (k, groups).
        first: whether it is the first half of the wires.
        sizes: number of states of the first and of the second half.
    """

    members: Tensor
    signs: Tensor
    first: bool
    sizes: tuple[int, int]

    def grouped(self, parts: Tensor) -> Tensor:
        """(2, 2ⁿ, d) → (groups, rows of a group, d)."""
        axes = (1, 0, 2, 3) if self.first else (2, 0, 1, 3)
        features = parts.shape[-1]
        return parts.view(2, *self.sizes, features).permute(axes).reshape(self.signs.shape[1], -1, features)

    def ungrouped(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of `grouped`."""
        groups, others = self.sizes if self.first else self.sizes[::-1]
        back = (1, 0, 2, 3) if self.first else (1, 2, 0, 3)
        return rows.view(groups, 2, others, shape[-1]).permute(back).reshape(shape)


def _halves(diagonals: Tensor) -> tuple[_Half, ...] | None:
    """The two groups of observables, or None if it does not pay or some observable sees both halves."""
    qubits = diagonals.shape[1].bit_length() - 1
    if qubits < _FEWEST_QUBITS_TO_GROUP:
        return None
    sizes = (2 ** (qubits // 2), 2 ** (qubits - qubits // 2))
    table = diagonals.view(-1, *sizes)
    on_first = (table == table[:, :, :1]).all(dim=2).all(dim=1)
    on_second = (table == table[:, :1, :]).all(dim=2).all(dim=1) & ~on_first
    if not bool((on_first | on_second).all()):
        return None
    halves = (
        _Half(on_first.nonzero().squeeze(1), table[on_first, :, 0], True, sizes),
        _Half(on_second.nonzero().squeeze(1), table[on_second, 0, :], False, sizes),
    )
    return tuple(half for half in halves if len(half.members))


def _parts(columns: Tensor) -> Tensor:
    """Real and imaginary parts, (2, 2ⁿ, d)."""
    return torch.stack((columns.real, columns.imag))


class _Operators(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, columns: Tensor, grams: SignedGrams) -> Tensor:
        ctx.grams = grams
        ctx.save_for_backward(columns)
        return grams.forward(columns)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor, None]:
        # Plain tensor operations, so a second derivative is recorded of itself.
        (columns,) = ctx.saved_tensors
        return ctx.grams.pullback(columns, cotangents[0]), None
