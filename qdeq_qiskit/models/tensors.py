"""What a model has learned, as tensors by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def copies_of(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on the CPU, without gradients."""
    return {name: tensor.detach().cpu().clone() for name, tensor in own.items()}


def take_over(own: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Put what was learned into a model's own tensors.

    Raises:
        ValueError: a tensor is missing or superfluous, has another shape, or holds a NaN.
    """
    if set(tensors) != set(own):
        raise ValueError(f"the weights are named {sorted(tensors)}; expected {sorted(own)}")
    for name, tensor in tensors.items():
        if tensor.shape != own[name].shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, but this model's is {tuple(own[name].shape)}")
        if not torch.isfinite(tensor).all():
            raise ValueError(f"{name} holds values that are NaN or infinite")
    with torch.no_grad():
        for name, tensor in tensors.items():
            own[name].copy_(tensor)
