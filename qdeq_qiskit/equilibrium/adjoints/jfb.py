"""The cheapest gradient: the Jacobian's inverse left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._map import FixedPointMap
from ._adjoint import Adjoint
from ._through_inputs import attach_through_inputs


@dataclass(frozen=True, kw_only=True)
class JFB(Adjoint):
    """Jacobian-free backpropagation: gᵀ ∂f/∂θ in place of gᵀ (I − J)⁻¹ ∂f/∂θ.

    A descent direction where f is a contraction; biased always, and the more so the larger J is.

    Fung et al.: JFB: Jacobian-free backpropagation for implicit networks, arXiv 2103.12803.
    """

    kind: ClassVar[str] = "jfb"
    uses_jacobian: ClassVar[bool] = False
    records_solver: ClassVar[bool] = False

    def attach(
        self, fixed_point_map: FixedPointMap, w: Tensor, jacobian: Tensor | None, value: Tensor | None
    ) -> Tensor:
        return attach_through_inputs(fixed_point_map, w, None, value)
