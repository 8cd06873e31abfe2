"""Figures of all processes, so that each of them knows those of whole batches."""

from __future__ import annotations

from typing import TypeVar

from torch import distributed

T = TypeVar("T")


def of_all_processes(own: T) -> list[T]:
    """What every process has to say, in their order; all of them ask at the same time.

    Args:
        own: plain values, and tensors on the CPU.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return [own]
    found: list[T | None] = [None] * distributed.get_world_size()
    distributed.all_gather_object(found, own)
    return found  # type: ignore[return-value]
