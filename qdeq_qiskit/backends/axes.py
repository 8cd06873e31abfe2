"""Permutations of the axes of tensors whose axes have two entries each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Permutation:
    """From one order of axes of size 2 to another; what comes after them stays where it is.

    Attributes:
        order: at each place the axis that comes there; None if every axis is there already.
        count: how many axes there are.
    """

    order: tuple[int, ...] | None
    count: int

    @classmethod
    def between(cls, current: Sequence[Hashable], wanted: Sequence[Hashable]) -> Permutation:
        """From one order of axes to another, each of them named."""
        order = tuple(list(current).index(axis) for axis in wanted)
        return cls(None if list(current) == list(wanted) else order, len(order))

    @property
    def inverse(self) -> Permutation:
        """The way back."""
        if self.order is None:
            return self
        return Permutation(tuple(sorted(range(self.count), key=self.order.__getitem__)), self.count)

    def __call__(self, tensor: Tensor) -> Tensor:
        """The tensor, of 2^count · rest entries, with its axes permuted; of any shape, if they stay as they are."""
        if self.order is None:
            return tensor
        return tensor.reshape((2,) * self.count + (-1,)).permute(*self.order, self.count)
