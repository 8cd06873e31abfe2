"""The penalty on the Jacobian that the solver sees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import mse_loss

from .._map import FixedPointMap
from ._penalty import JacobianPenalty


@dataclass(frozen=True, kw_only=True)
class ReducedJacobianPenalty(JacobianPenalty):
    """mean over samples of ‖∂q/∂v R‖²_F / n, in closed form, without a probe.

    The reduced form of the Jacobian regularisation of Bai, Koltun, Kolter, arXiv 2106.14342.
    """

    kind: ClassVar[str] = "reduced"

    def measure(
        self, fixed_point_map: FixedPointMap, w: Tensor, jacobian: Tensor | None, lift: Tensor | None
    ) -> Tensor:
        assert jacobian is not None
        # Σ J² and its gradient as one operator each.
        squares = mse_loss(jacobian, jacobian.new_zeros(()).expand_as(jacobian), reduction="sum")
        return squares / (max(jacobian.shape[0], 1) * jacobian.shape[1])
