"""The cheapest gradient: the Jacobian's inverse left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._map import FixedPointMap
from ._adjoint import Adjoint, FoundRoot
from ._dense import InverseRule
from ._through_inputs import attach_through_inputs


@dataclass(frozen=True, kw_only=True)
class JFB(Adjoint):
    """Jacobian-free backpropagation: gᵀ ∂f/∂θ in place of gᵀ (I − J)⁻¹ ∂f/∂θ.

    A descent direction where f is a contraction; biased always, and the more so the larger J is.

    Fung et al.: JFB: Jacobian-free backpropagation for implicit networks, arXiv 2103.12803.
    """

    kind: ClassVar[str] = "jfb"

    def attach(self, fixed_point_map: FixedPointMap, found: FoundRoot) -> Tensor:
        return attach_through_inputs(fixed_point_map, found.w, InverseRule(), None, found.value)
