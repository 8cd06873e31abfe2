"""The gradient of the iterations themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._map import FixedPointMap
from ._adjoint import Adjoint, FoundRoot


@dataclass(frozen=True, kw_only=True)
class Unrolled(Adjoint):
    """Differentiates through the solver's own iterations, whose memory it therefore needs.

    It is the gradient of the iterate that was returned, not of the fixed point: the two differ by as much as the
    iterations' derivatives have not converged, which may be more than the iterate's own error.
    """

    kind: ClassVar[str] = "unrolled"
    records_solver: ClassVar[bool] = True

    def attach(self, fixed_point_map: FixedPointMap, found: FoundRoot) -> Tensor:
        return found.w
