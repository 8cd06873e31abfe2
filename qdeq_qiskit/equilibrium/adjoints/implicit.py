"""The exact gradient, by the implicit function theorem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._map import FixedPointMap
from ._adjoint import Adjoint
from ._through_inputs import attach_through_inputs


@dataclass(frozen=True, kw_only=True)
class ImplicitAdjoint(Adjoint):
    """Solves (I − Jᵀ) u = g with the dense n×n Jacobian of each sample, then gives uᵀ ∂f/∂θ and uᵀ ∂f/∂x.

    With z = R w and g = Rᵀ ∂L/∂z this is the exact gradient, at the price of one Jacobian and independent of the
    number of iterations. Differentiable again, to any order that the map is.

    Bai, Kolter, Koltun: Deep equilibrium models, arXiv 1909.01377, theorem 1; in the reduced space of w.
    """

    kind: ClassVar[str] = "implicit"
    uses_jacobian: ClassVar[bool] = True
    records_solver: ClassVar[bool] = False

    def attach(
        self, fixed_point_map: FixedPointMap, w: Tensor, jacobian: Tensor | None, value: Tensor | None
    ) -> Tensor:
        assert jacobian is not None
        return attach_through_inputs(fixed_point_map, w, jacobian, value)
