"""The inverse of I − J, J being measured, with and without a floor under its singular values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Spectrum:
    """(I − J)⁻¹, and what becomes of it and of J if no singular value of I − J may be below a floor; (M, n, n) each.

    Attributes:
        inverse: (I − J)⁻¹, double precision; NaN where J is not finite.
        floored_inverse: the same with the floor.
        floored_jacobian: J, or one with I − J at the floor.
        acted: whether the floor made a difference, (M,).
    """

    inverse: Tensor
    floored_inverse: Tensor
    floored_jacobian: Tensor
    acted: Tensor

    @classmethod
    def of(cls, jacobian: Tensor, floor: float) -> Spectrum:
        jacobian = jacobian.double()
        finite = jacobian.isfinite().all(2).all(1)[:, None, None]
        identity = torch.eye(jacobian.shape[1], dtype=torch.double, device=jacobian.device)
        u, values, vh = torch.linalg.svd(torch.where(finite, identity - jacobian, identity))
        values = values.clamp(min=torch.finfo(torch.double).tiny ** 0.5)
        raised = values.clamp(min=floor)
        inverse, floored = ((vh.mT / each.unsqueeze(1)) @ u.mT for each in (values, raised))
        acted = (values < floor).any(1)
        kept = jacobian + (u * (values - raised).unsqueeze(1)) @ vh
        return cls(
            torch.where(finite, inverse, torch.nan),
            torch.where(finite, floored, torch.nan),
            torch.where(acted[:, None, None], kept, jacobian),
            acted,
        )
