"""A few terms of the implicit gradient's series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._map import FixedPointMap
from .._options import check_count, check_number
from ._adjoint import Adjoint, FoundRoot
from ._dense import NeumannRule
from ._through_inputs import attach_through_inputs


@dataclass(frozen=True, kw_only=True)
class PhantomGradient(Adjoint):
    """u = τ Σ_{j<k} ((1 − τ) I + τ Jᵀ)ʲ g in place of (I − Jᵀ)⁻¹ g: what k damped steps from w* would give by autograd.

    Bounded by k τ ‖g‖ where J has norm 1, however close I − J is to singular; it tends to the implicit gradient as k
    grows, if the damped steps converge. With one Jacobian at w*, it costs as much as the implicit gradient; k = 1 and
    τ = 1 is Jacobian-free backpropagation.

    Geng et al.: On training implicit models, arXiv 2111.05177 (the Neumann form, which at w* is the unrolled one).

    Attributes:
        steps: k.
        damping: τ, in (0, 1].
    """

    kind: ClassVar[str] = "phantom"

    steps: int = 5
    damping: float = 0.5

    def __post_init__(self) -> None:
        check_count("steps", self.steps, least=1)
        check_number("damping", self.damping, above=0, most=1)

    @property
    def uses_jacobian(self) -> bool:
        return self.steps > 1

    def attach(self, fixed_point_map: FixedPointMap, found: FoundRoot) -> Tensor:
        rule = NeumannRule(self.steps, self.damping)
        return attach_through_inputs(fixed_point_map, found.w, rule, found.jacobian, found.value)
