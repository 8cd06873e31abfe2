"""The implicit gradient with the inverse that the forward solve has estimated."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._map import FixedPointMap
from .._options import check_count, check_number
from ._adjoint import Adjoint, FoundRoot
from ._dense import InverseRule
from ._refined import RefinedRule
from ._through_inputs import CotangentRule, attach_through_inputs


@dataclass(frozen=True, kw_only=True)
class Shine(Adjoint):
    """u = Bᵀ g with B ≈ (I − J)⁻¹ from the forward solver, in place of (I − Jᵀ)⁻¹ g; costs nothing by itself.

    Needs a solver that estimates the inverse on its way, such as Broyden's method; B is as good as the directions of
    its steps were many. With `refine`, Broyden's method goes on from there on (I − Jᵀ) u = g itself, a vector-Jacobian
    product a step; those are counted in `Solution.backward`. 2n steps give the exact gradient. Second derivatives take
    B for a constant.

    Ramzi et al.: SHINE: Sharing the inverse estimate from the forward pass for bi-level optimization and implicit
    models, arXiv 2106.00553.

    Attributes:
        fallback: samples with ‖u‖ > fallback · ‖g‖ fall back to u = g, Jacobian-free backpropagation (the paper: 1.3).
        refine: steps of refinement; 0 for none.
    """

    kind: ClassVar[str] = "shine"
    uses_inverse: ClassVar[bool] = True

    fallback: float = math.inf
    refine: int = 0

    def __post_init__(self) -> None:
        check_number("fallback", self.fallback, above=0)
        check_count("refine", self.refine, least=0)

    @property
    def solves(self) -> bool:
        return self.refine > 0

    def attach(self, fixed_point_map: FixedPointMap, found: FoundRoot) -> Tensor:
        assert found.inverse is not None
        rule: CotangentRule = InverseRule(self.fallback)
        if self.refine:
            rule = RefinedRule(self.refine, self.fallback, found.report)
        return attach_through_inputs(fixed_point_map, found.w, rule, found.inverse, found.value)
