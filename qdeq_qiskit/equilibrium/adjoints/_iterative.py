"""u of (I − Jᵀ) u = g by any solver, on vector-Jacobian products alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from .._backward_report import BackwardReport
from .._map import FixedPointMap
from .._search import search
from ..solvers import Solver
from ._through_inputs import CotangentRule, attach_through_inputs


@final
class AdjointMap(FixedPointMap):
    """u ↦ Jᵀ u + g, whose fixed point is that u; a map like every other, so that every solver solves it.

    Args:
        base: the map f, J = ∂f/∂w.
        w: its fixed points, (B, n).
        cotangent: g, (B, n).
        jacobian: J, (B, n, n), where products share it and it is known.
    """

    def __init__(self, base: FixedPointMap, w: Tensor, cotangent: Tensor, jacobian: Tensor | None = None) -> None:
        self._base, self._w, self._cotangent, self._jacobian = base, w, cotangent, jacobian
        self._product: Callable[[Tensor], Tensor] | None = None

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._w, self._cotangent, *self._base.inputs

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> AdjointMap:
        w, cotangent, *others = inputs
        return AdjointMap(self._base.with_inputs(tuple(others)), w, cotangent)

    def select(self, rows: Tensor) -> AdjointMap:
        jacobian = None if self._jacobian is None else self._jacobian.index_select(0, rows)
        w, cotangent = self._w.index_select(0, rows), self._cotangent.index_select(0, rows)
        return AdjointMap(self._base.select(rows), w, cotangent, jacobian)

    def value(self, w: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            return self._recorded_product(w) + self._cotangent
        if self._base.shares_products:  # also with what is left when some samples are done
            if self._jacobian is None:
                self._jacobian = self._base.jacobian_at_root(self._w)
            return torch.einsum("bk,bkl->bl", w, self._jacobian) + self._cotangent
        if self._product is None:
            self._product = self._base.pullback_at_root(self._w)
        return self._product(w) + self._cotangent

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        value, jacobian = self.value(w), self._base.value_and_jacobian(self._w)[1]
        return value, jacobian.mT

    def _recorded_product(self, u: Tensor) -> Tensor:
        point = self._w if self._w.requires_grad else self._w.detach().requires_grad_()
        value = self._base.value(point)
        if not value.requires_grad:  # f does not depend on w
            return torch.zeros_like(u)
        return torch.autograd.grad(value, point, u, create_graph=True, materialize_grads=True)[0]


@dataclass(frozen=True, eq=False)
class IterativeRule(CotangentRule):
    """(I − Jᵀ) u = g by a solver; it is differentiated as the fixed point that it is, by the same solver.

    Attributes:
        solver: one that uses no Jacobian.
        report: where it says how that went; the solves of further derivatives are not noted.
    """

    solver: Solver
    report: BackwardReport | None

    def of(self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor) -> Tensor:
        with torch.no_grad():
            # J = 0 gives u = g, which a product then improves on.
            root = search(AdjointMap(fixed_point_map.frozen(), w, cotangent), cotangent, self.solver)
        if self.report is not None:
            self.report.shares_products = fixed_point_map.shares_products
            self.report.note(root)
        return root.w

    def recorded(
        self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor
    ) -> tuple[Tensor, Tensor]:
        u = self.of(fixed_point_map, w.detach(), None, cotangent.detach())
        again = IterativeRule(self.solver, None)
        return fixed_point_map.value(w), attach_through_inputs(
            AdjointMap(fixed_point_map, w, cotangent), u, again, None, None
        )
