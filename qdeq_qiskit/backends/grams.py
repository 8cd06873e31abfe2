r"""Real parts of W† S_k W for diagonal observables, and their gradient, with as few products as the signs allow.

With real and imaginary rows of the columns stacked, Q, the operator is :math:`Q^T S_k Q`, which is
:math:`\sum_a s_k(a)\, Q_a^T Q_a` for any grouping of the rows in which s_k is constant on each group a. Observables
that all see the same few wires share one grouping (by the bits of those wires), so K operators cost as many sets of
Gram matrices as there are such sets of wires, instead of K products.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qdeq_qiskit.backends.axes import Permutation

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
        self._groupings = _groupings(diagonals)
        if self._groupings is not None:
            self._order = torch.cat([grouping.members for grouping in self._groupings]).argsort()

    @property
    def num_products(self) -> int:
        """So many products Qᵀ Q of all rows the operators cost."""
        return len(self.diagonals) if self._groupings is None else len(self._groupings)

    def to(self, device: torch.device, dtype: torch.dtype) -> SignedGrams:
        """The same on another device or in another precision."""
        moved = copy(self)
        moved.diagonals = self.diagonals.to(device, dtype)
        moved._row_signs = self._row_signs.to(device, dtype)
        if self._groupings is not None:
            moved._groupings = tuple(grouping.to(device, dtype) for grouping in self._groupings)
            moved._order = self._order.to(device)
        return moved

    def operators(self, columns: Tensor) -> Tensor:
        """(K, d, d), symmetric, from complex columns, (2ⁿ, d); differentiable to every order."""
        return _Operators.apply(columns, self)

    def forward(self, columns: Tensor) -> Tensor:
        """`operators`, nothing being recorded by hand."""
        parts = _parts(columns)
        if self._groupings is None:
            rows = parts.flatten(0, 1)
            return torch.matmul((rows * self._row_signs).mT, rows)
        features = columns.shape[1]
        found = []
        for grouping in self._groupings:
            rows = grouping.grouped(parts)
            found.append((grouping.signs @ torch.bmm(rows.mT, rows).flatten(1)).view(-1, features, features))
        return torch.cat(found).index_select(0, self._order)

    def pullback(self, columns: Tensor, cotangent: Tensor) -> Tensor:
        """∂L/∂columns, (2ⁿ, d), complex, from ∂L/∂operators, (K, d, d)."""
        parts = _parts(columns)
        symmetric = cotangent + cotangent.mT
        if self._groupings is None:
            rows = parts.flatten(0, 1)
            result = (self._row_signs * torch.matmul(rows, symmetric)).sum(0).view_as(parts)
        else:
            result = torch.zeros_like(parts)
            for grouping in self._groupings:
                weighted = grouping.signs.T @ symmetric.index_select(0, grouping.members).flatten(1)
                products = torch.bmm(grouping.grouped(parts), weighted.view(-1, *symmetric.shape[1:]))
                result += grouping.ungrouped(products, parts.shape)
        return torch.complex(result[0], result[1])


@dataclass(frozen=True)
class _Grouping:
    """The observables that see some of the wires only.

    Attributes:
        members: which of the observables, (k,).
        signs: their diagonals as functions of those wires' bits, (k, groups).
        order: from part and wires to those wires, the part, and the others.
    """

    members: Tensor
    signs: Tensor
    order: Permutation

    def to(self, device: torch.device, dtype: torch.dtype) -> _Grouping:
        """The same on another device or in another precision."""
        return _Grouping(self.members.to(device), self.signs.to(device, dtype), self.order)

    def grouped(self, parts: Tensor) -> Tensor:
        """(2, 2ⁿ, d) → (groups, rows of a group, d)."""
        return self.order(parts).reshape(self.signs.shape[1], -1, parts.shape[-1])

    def ungrouped(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """The inverse of `grouped`."""
        return self.order.inverse(rows).reshape(shape)


def _groupings(diagonals: Tensor) -> tuple[_Grouping, ...] | None:
    """The observables by the wires that they see, or None if it does not pay or some observable sees too many."""
    qubits = diagonals.shape[1].bit_length() - 1
    if qubits < _FEWEST_QUBITS_TO_GROUP:
        return None
    supports = list(_supports(diagonals, qubits))
    sets: list[tuple[set[int], list[int]]] = []  # wires, observables
    for index in sorted(range(len(supports)), key=lambda index: -len(supports[index])):
        # The first set that does not become larger than half the wires: more would make the many groups dear.
        room = [some for some in sets if len(some[0] | supports[index]) <= (qubits + 1) // 2]
        if not room:
            room = [(set(), [])]
            sets += room
        room[0][0].update(supports[index])
        room[0][1].append(index)
    if len(sets) >= len(supports) or any(len(wires) > (qubits + 1) // 2 for wires, _ in sets):
        return None
    return tuple(_grouping(diagonals, sorted(wires), sorted(members), qubits) for wires, members in sets)


def _supports(diagonals: Tensor, qubits: int) -> Iterator[set[int]]:
    """For each observable the wires whose bit changes it."""
    for diagonal in diagonals:
        halves = (diagonal.view(2**wire, 2, -1) for wire in range(qubits))
        yield {wire for wire, half in enumerate(halves) if not torch.equal(half[:, 0], half[:, 1])}


def _grouping(diagonals: Tensor, wires: list[int], members: list[int], qubits: int) -> _Grouping:
    others = [wire for wire in range(qubits) if wire not in wires]
    first = Permutation.between(range(qubits), [*wires, *others])
    signs = [first(diagonals[member]).reshape(2 ** len(wires), -1)[:, 0] for member in members]
    order = Permutation.between(["part", *range(qubits)], [*wires, "part", *others])
    return _Grouping(torch.tensor(members, device=diagonals.device), torch.stack(signs), order)


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
