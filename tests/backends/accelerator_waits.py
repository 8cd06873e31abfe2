"""Training steps on a device without numbers, torch's `meta`: whatever reads one there, as a GPU's host would, fails.

What fails is not all that makes a host wait: operators that look at their own results, and copies between devices, are
found by a dispatch mode.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# They pass on `meta`, and on a GPU they read whether they have succeeded, or how large their result is.
WAITING = ("_linalg_check_errors", "linalg_eig", "_linalg_eigvals", "_linalg_svd", "_linalg_eigh", "lstsq", "pinverse")


class WaitsOfTheHost(TorchDispatchMode):
    """Notes operators that make the host wait for an accelerator, and would pass on `meta`.

    Attributes:
        found: their names, with the shapes of their tensors.
        operators: how many operators there were in all.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.operators = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operators += 1
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        # Scalars of the host travel with the call.
        devices = {each.device.type for each in tensors if each.ndim > 0}
        after = {each.device.type for each in tree_leaves(result) if isinstance(each, Tensor)}
        if len(devices) > 1 or (devices and after - devices) or (name in WAITING and devices != {"cpu"}):
            self.found.append(f"{name} {[tuple(each.shape) for each in tensors]}")
        return result
