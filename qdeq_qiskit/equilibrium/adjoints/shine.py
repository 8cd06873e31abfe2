"""The implicit gradient with the inverse that the forward solve has estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._map import FixedPointMap
from .._options import check_number
from ._adjoint import Adjoint, FoundRoot
from ._dense import InverseRule
from ._through_inputs import attach_through_inputs


@dataclass(frozen=True, kw_only=True)
class Shine(Adjoint):
    """u = Bᵀ g with B ≈ (I − J)⁻¹ from the forward solver, in place of (I − Jᵀ)⁻¹ g; costs nothing.

    Needs a solver that estimates the inverse on its way, such as Broyden's method; B is as good as the directions of
    its steps were many. Second derivatives take B for a constant.

    Ramzi et al.: SHINE: Sharing the inverse estimate from the forward pass for bi-level optimization and implicit
    models, arXiv 2106.00553.

    Attributes:
        fallback: samples with ‖u‖ > fallback · ‖g‖ fall back to u = g, Jacobian-free backpropagation (the paper: 1.3).
    """

    kind: ClassVar[str] = "shine"
    uses_inverse: ClassVar[bool] = True

    fallback: float = math.inf

    def __post_init__(self) -> None:
        check_number("fallback", self.fallback, above=0)

    def attach(self, fixed_point_map: FixedPointMap, found: FoundRoot) -> Tensor:
        assert found.inverse is not None
        return attach_through_inputs(fixed_point_map, found.w, InverseRule(self.fallback), found.inverse, found.value)
