"""How sure a predicted class is, where the equilibrium behind it is an estimate."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

POINTS = 1024


def class_confidence(
    mean: Tensor, covariance: Tensor, predicted: Tensor, logits_of: Callable[[Tensor], Tensor]
) -> Tensor:
    """The probability that the exact state, normal about its estimate, gives the class that was predicted, (B,).

    An integral over a normal distribution, by the same 1,024 points of a scrambled Sobol sequence for every sample and
    in every call: its error is below one percentage point, and no random generator is touched.

    Args:
        mean: the estimates, (B, n).
        covariance: theirs, (B, n, n); samples with NaN in it have NaN for an answer.
        predicted: the class of each sample, (B,).
        logits_of: logits, (M, classes), of states, (M, n).
    """
    known = covariance.isfinite().all(2).all(1)
    factor = _square_root(torch.where(known[:, None, None], covariance, 0.0))
    normal = _normal_points(mean.shape[1]).to(mean)
    agreeing = torch.zeros(len(mean), dtype=torch.long, device=mean.device)
    for points in normal.split(64):  # 64 draws of every sample at a time
        states = mean.unsqueeze(1) + points @ factor.mT
        classes = logits_of(states.flatten(0, 1)).argmax(dim=1).unflatten(0, states.shape[:2])
        agreeing += (classes == predicted.unsqueeze(1)).sum(1)
    return torch.where(known, agreeing.to(mean) / len(normal), torch.nan)


def _square_root(covariance: Tensor) -> Tensor:
    """L with L Lᵀ = the covariance, (B, n, n); singular ones are welcome."""
    values, vectors = torch.linalg.eigh(covariance)
    return vectors * values.clamp(min=0).sqrt().unsqueeze(1)


@cache
def _normal_points(dimensions: int) -> Tensor:
    """Points of a standard normal distribution, (POINTS, dimensions), that leave no gaps."""
    uniform = torch.quasirandom.SobolEngine(dimensions, scramble=True, seed=0).draw(POINTS, dtype=torch.double)
    return torch.special.ndtri(uniform.clamp(1e-12, 1 - 1e-12))
