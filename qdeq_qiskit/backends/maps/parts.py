"""Batches of states evaluated in parts, so that caches hold a part and memory what is recorded."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from qdeq_qiskit.backends.maps.product_state import MOST_AMPLITUDES, MOST_RECORDED


def in_parts(
    function: Callable[..., tuple[Tensor, ...]], rows: Tensor, shared: tuple[Tensor, ...], *, amplitudes: int
) -> tuple[Tensor, ...]:
    """function(rows, *shared), the rows in parts of few amplitudes.

    A backward pass through many rows evaluates part by part again, so that it holds but one.

    Args:
        function: row by row; its outputs have a row for each.
        rows: (B, ...).
        shared: what all rows share.
        amplitudes: of one row.
    """
    parts = rows.split(max(1, MOST_AMPLITUDES // amplitudes))
    if len(parts) == 1:
        return function(rows, *shared)
    if torch.is_grad_enabled() and len(rows) * amplitudes > MOST_RECORDED:
        found = [checkpoint(function, part, *shared, use_reentrant=False) for part in parts]
    else:
        found = [function(part, *shared) for part in parts]
    return tuple(torch.cat(outputs) for outputs in zip(*found, strict=True))
