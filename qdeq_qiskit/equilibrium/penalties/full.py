"""The paper's penalty, on the Jacobian of the lifted state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._map import FixedPointMap
from ._penalty import JacobianPenalty


@dataclass(frozen=True, kw_only=True)
class FullJacobianPenalty(JacobianPenalty):
    """mean over samples of ‖R ∂q/∂v‖²_F / d, in closed form: the mean of what Hutchinson's probe estimates.

    Bai, Koltun, Kolter: Stabilizing equilibrium models by Jacobian regularization, arXiv 2106.14342; used in the
    QDEQ paper, arXiv 2410.23940. Without a lift it equals the reduced penalty.
    """

    kind: ClassVar[str] = "full"

    def measure(
        self, fixed_point_map: FixedPointMap, w: Tensor, jacobian: Tensor | None, lift: Tensor | None
    ) -> Tensor:
        assert jacobian is not None
        if lift is None:
            return jacobian.square().sum() / (max(jacobian.shape[0], 1) * jacobian.shape[1])
        gradient = fixed_point_map.unlifted_jacobian(w)
        if gradient.shape[2] != lift.shape[0]:
            raise NotImplementedError(
                f"{type(fixed_point_map).__name__} does not give ∂q/∂v (unlifted_jacobian), which the full Jacobian "
                "penalty needs: use the reduced one."
            )
        # ‖R G‖² = tr(Gᵀ RᵀR G), without the (B, d, d) product.
        weighted = torch.matmul(lift.mT @ lift, gradient)
        return (gradient * weighted).sum() / (max(gradient.shape[0], 1) * lift.shape[0])
