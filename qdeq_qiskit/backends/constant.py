"""Constants of a computation, at hand wherever they are wanted."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor


@final
class Constant:
    """A tensor that never changes, with the copies of it that have been wanted, on other devices and in other dtypes.

    To make a copy in every call would take longer than what it is used for, and have the host wait for a GPU.

    Args:
        tensor: the original, from which every copy is made.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._original = tensor
        self._copies: dict[tuple[torch.device, torch.dtype], Tensor] = {}

    def on(self, device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
        """The tensor on a device, in the dtype given, or in its own."""
        dtype = dtype or self._original.dtype
        if self._original.device == device and self._original.dtype == dtype:
            return self._original
        if (device, dtype) not in self._copies:
            with torch.inference_mode(False):  # what is kept must serve outside of inference mode too
                self._copies[device, dtype] = self._original.to(device, dtype)
        return self._copies[device, dtype]

    def like(self, tensor: Tensor) -> Tensor:
        """The tensor on the device and in the dtype of another."""
        return self.on(tensor.device, tensor.dtype)

    def __reduce__(self) -> tuple[type[Constant], tuple[Tensor]]:
        return Constant, (self._original,)
