"""u of (I − Jᵀ) u = g from an estimate of the inverse, improved on by a few vector-Jacobian products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from .._backward_report import BackwardReport
from .._map import FixedPointMap
from ._iterative import AdjointMap
from ._through_inputs import CotangentRule


@final
@dataclass(frozen=True, eq=False)
class RefinedRule(CotangentRule):
    """Broyden's method on r(u) = Jᵀu + g − u, begun at u = Bᵀ g with Bᵀ as the estimate of (I − Jᵀ)⁻¹.

    A step takes one product Jᵀu and, with H for the estimate, Δu = H r; then H ← H + (Δu − H y) (Δuᵀ H) / (Δuᵀ H y)
    with y = −Δr. As r is affine, 2n steps end at the exact u where no denominator vanishes.

    Gay, SIAM J. Numer. Anal. 16 (1979) 623.

    Attributes:
        steps: how many, at least 1.
        most: where ‖Bᵀ g‖ exceeds so many times ‖g‖, g and the identity are begun with.
        report: where it says what was taken; products of further derivatives are not noted.
    """

    steps: int
    most: float
    report: BackwardReport | None

    def of(self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor) -> Tensor:
        with torch.no_grad():
            product = fixed_point_map.frozen().pullback_at_root(w)
            u, before = self._refined(lambda u: product(u) + cotangent, matrix, cotangent)
        if self.report is not None:
            self.report.shares_products = fixed_point_map.shares_products
            self.report.note_products(self.steps, before)
        return u

    def recorded(
        self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor
    ) -> tuple[Tensor, Tensor]:
        mapped = AdjointMap(fixed_point_map, w, cotangent)
        return fixed_point_map.value(w), self._refined(mapped.value, matrix, cotangent)[0]

    def _refined(
        self, mapped: Callable[[Tensor], Tensor], matrix: Tensor | None, cotangent: Tensor
    ) -> tuple[Tensor, Tensor]:
        """u, (B, n), and ‖r‖ / ‖Jᵀu + g‖ where the last step began, (B,).

        Args:
            mapped: u ↦ Jᵀu + g.
            matrix: B, (B, n, n).
            cotangent: g, (B, n).
        """
        assert matrix is not None
        u = torch.einsum("blk,bl->bk", matrix, cotangent)
        small = (_norm(u) <= self.most * _norm(cotangent)).unsqueeze(1)
        identity = torch.eye(u.shape[1], dtype=u.dtype, device=u.device).expand_as(matrix)
        inverse = torch.where(small.unsqueeze(2), matrix.mT, identity)
        u = torch.where(small, u, cotangent)
        step = residual = relative = torch.zeros_like(u)
        for count in range(self.steps):
            value = mapped(u)
            change, residual = residual - (value - u), value - u
            if count:
                inverse = inverse + _update(inverse, step, change)
            step = torch.einsum("bkl,bl->bk", inverse, residual)
            relative = _norm(residual) / (_norm(value) + torch.finfo(u.dtype).tiny)
            u = u + step
        return u, relative.detach()


def _update(inverse: Tensor, step: Tensor, change: Tensor) -> Tensor:
    """What makes H y = Δu of H, (B, n, n), by Broyden; zero where the denominator vanishes, as at the solution."""
    mapped = torch.einsum("bkl,bl->bk", inverse, change)
    left = torch.einsum("bk,bkl->bl", step, inverse)
    denominator = (left * change).sum(1)
    usable = denominator.detach().abs() > torch.finfo(step.dtype).eps * _norm(left.detach()) * _norm(change.detach())
    scaled = (step - mapped) / torch.where(usable, denominator, torch.ones_like(denominator)).unsqueeze(1)
    scaled = torch.where(usable.unsqueeze(1), scaled, torch.zeros_like(scaled))
    return scaled.unsqueeze(2) * left.unsqueeze(1)


def _norm(vectors: Tensor) -> Tensor:
    return torch.linalg.vector_norm(vectors.detach(), dim=1)
