"""The lift R that carries the reduced state to the features."""

from __future__ import annotations

import torch
from torch import Tensor

from ._options import check_count


def nearest_lift(features: int, state_size: int, *, dtype: torch.dtype | None = None) -> Tensor:
    """Nearest upsampling of the state: R[i, ⌊i n / d⌋] = 1, all else 0.

    Args:
        features: d.
        state_size: n ≤ d.
        dtype: of the result; torch's default if None.

    Returns:
        R, (d, n): z = w Rᵀ has each state entry repeated over its share of the features.

    Raises:
        ValueError: more state entries than features.
    """
    check_count("state_size", state_size, least=1)
    check_count("features", features, least=1)
    if state_size > features:
        raise ValueError(f"A lift needs at least as many features as state entries; {features=}, {state_size=}.")
    rows = torch.arange(features)
    lift = torch.zeros(features, state_size, dtype=dtype or torch.get_default_dtype())
    lift[rows, rows * state_size // features] = 1
    return lift
