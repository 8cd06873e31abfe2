"""u from the dense Jacobian of each sample."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

from .. import _looks
from .._map import FixedPointMap
from ._through_inputs import CotangentRule

_SINGULAR = (
    "I − J is singular at {count} of {samples} fixed points: these samples contribute nothing to the gradient. A "
    "Jacobian penalty keeps fixed points away from such places."
)


class DenseRule(CotangentRule):
    """(I − Jᵀ) u = g."""

    def of(self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor) -> Tensor:
        """As solved by elimination; zero, with a warning, for samples where I − J is singular."""
        assert matrix is not None
        system = matrix.mT.neg()
        system.diagonal(dim1=1, dim2=2).add_(1)
        u = torch.linalg.solve_ex(system, cotangent)[0]
        if _looks.on_accelerator(u):
            return _of_regular_samples(u, cotangent)
        if not math.isfinite(float(u.sum())) and bool(cotangent.isfinite().all()):
            finite = u.isfinite().all(dim=1, keepdim=True)
            message = _SINGULAR.format(count=int((~finite).sum()), samples=len(u))
            warnings.warn(message, RuntimeWarning, stacklevel=2)
            u = torch.where(finite, u, torch.zeros_like(u))
        return u

    def recorded(
        self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor
    ) -> tuple[Tensor, Tensor]:
        value, jacobian = fixed_point_map.value_and_jacobian(w)
        system = torch.eye(w.shape[1], dtype=w.dtype, device=w.device) - jacobian.mT
        return value, torch.linalg.solve(system, cotangent)


def _of_regular_samples(u: Tensor, cotangent: Tensor) -> Tensor:
    """u, (B, n), with zero where I − J is singular, which is told later, the host not having to wait for it now."""
    # Where the cotangent itself is not finite, that of the loss is to be seen.
    singular = u.isfinite().all(dim=1).logical_not_().logical_and_(cotangent.isfinite().all())
    _looks.warn_later(singular.sum(), _SINGULAR.replace("{samples}", str(len(u))))
    return torch.where(singular.unsqueeze(1), 0.0, u)


@dataclass(frozen=True)
class NeumannRule(CotangentRule):
    """u = τ Σ_{j<k} ((1 − τ) I + τ Jᵀ)ʲ g.

    Attributes:
        terms: k.
        damping: τ.
    """

    terms: int
    damping: float

    def of(self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor) -> Tensor:
        return self._sum(matrix, cotangent)

    def recorded(
        self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor
    ) -> tuple[Tensor, Tensor]:
        if self.terms == 1:
            return fixed_point_map.value(w), self._sum(None, cotangent)
        value, jacobian = fixed_point_map.value_and_jacobian(w)
        return value, self._sum(jacobian, cotangent)

    def _sum(self, jacobian: Tensor | None, cotangent: Tensor) -> Tensor:
        """By Horner's rule: the last term first."""
        u = self.damping * cotangent
        for _ in range(self.terms - 1):
            assert jacobian is not None
            pulled = (jacobian.mT @ u.unsqueeze(2)).squeeze(2)
            u = u + self.damping * (cotangent - u + pulled)
        return u


@dataclass(frozen=True)
class InverseRule(CotangentRule):
    """u = Bᵀ g with a given B ≈ (I − J)⁻¹, or g itself without one; B is a constant to further derivatives.

    Attributes:
        most: where ‖Bᵀ g‖ exceeds so many times ‖g‖, u is g as well.
    """

    most: float = math.inf

    def of(self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor) -> Tensor:
        if matrix is None:
            return cotangent
        u = (matrix.mT @ cotangent.unsqueeze(2)).squeeze(2)
        if self.most == math.inf:
            return u
        sizes = (torch.linalg.vector_norm(each, dim=1, keepdim=True) for each in (u.detach(), cotangent.detach()))
        size, before = sizes
        return torch.where(size > self.most * before, cotangent, u)

    def recorded(
        self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor
    ) -> tuple[Tensor, Tensor]:
        return fixed_point_map.value(w), self.of(fixed_point_map, w, matrix, cotangent)
