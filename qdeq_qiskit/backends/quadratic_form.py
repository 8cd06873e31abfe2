"""Derivatives of q along directions of amplitude-encoded features, from values at two finite distances.

Without noise in the encoder N(v) = ‖v‖² q(v) is a quadratic form, so [N(v + s d) − N(v − s d)] / 2s is its derivative
along d for every s.
"""

from __future__ import annotations

import torch
from torch import Tensor


def probes(v: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
    """v + s d and v − s d for each direction, (2, B, m, d), and s, (B, m): as long as v, where noise matters least."""
    norm = torch.linalg.vector_norm(v, dim=1)
    length = torch.linalg.vector_norm(directions, dim=0)
    steps = torch.where(norm > 0, norm, 1.0).unsqueeze(1) / torch.where(length > 0, length, 1.0)
    moves = steps.unsqueeze(-1) * directions.T
    return torch.stack((v.unsqueeze(1) + moves, v.unsqueeze(1) - moves)), steps


def slope_of_form(
    v: Tensor, directions: Tensor, points: Tensor, steps: Tensor, value: Tensor, values: Tensor
) -> Tensor:
    """∂q/∂v · directions, (B, K, m), from q at v, (B, K), and at the probes, in their order."""
    forms = points.square().sum(-1, keepdim=True) * values.unflatten(0, points.shape[:3])
    slope = (forms[0] - forms[1]) / (2 * steps.unsqueeze(-1))  # (B, m, K)
    jacobian = slope.mT - 2 * value.unsqueeze(-1) * (v @ directions).unsqueeze(1)
    # At v = 0, which encodes as the first basis state, the derivative is taken as zero.
    square = v.square().sum(-1).view(-1, 1, 1)
    return torch.where(square > 0, jacobian / torch.where(square > 0, square, 1.0), 0.0)
