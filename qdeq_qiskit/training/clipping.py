"""Gradients kept to a length, or dropped."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def clip_gradients(parameters: Iterable[Tensor], limit: float) -> None:
    """Scale the gradients, in place, so that their joint norm is at most `limit`.

    What `torch.nn.utils.clip_grad_norm_` does, whose bookkeeping takes five times as long as the few small gradients of
    a classifier need.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    norm = torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients]))
    # Divided by one where nothing is to be clipped: no device is waited for.
    torch._foreach_div_(gradients, norm.add_(1e-6).div_(limit).clamp_(min=1))


def drop_gradients(parameters: Iterable[Tensor]) -> None:
    """What an optimiser's `zero_grad` does, without its bookkeeping, which costs more than a solver step."""
    for parameter in parameters:
        parameter.grad = None
