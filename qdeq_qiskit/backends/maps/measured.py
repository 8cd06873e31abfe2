"""What the maps share that are evaluated by somebody else's machinery: a network, or circuits on an estimator."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

import torch
from torch import Tensor

from qdeq_qiskit.equilibrium import FixedPointMap

Source = TypeVar("Source")


class MeasuredMap(FixedPointMap, Generic[Source]):
    """w ↦ q(R w + x; θ), q being evaluated by a source that knows neither R nor x; abstract.

    Args:
        source: what evaluates.
        x: features, (B, d).
        weight: θ, (P,).
        lift: R, (d, n).
    """

    def __init__(self, source: Source, x: Tensor, weight: Tensor, lift: Tensor) -> None:
        self._source = source
        self._x = x
        self._weight = weight
        self._lift = lift

    @property
    def jacobian_has_gradient(self) -> bool:
        return False

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._x, self._weight

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> Self:
        x, weight = inputs
        return type(self)(self._source, x, weight, self._lift)

    def select(self, rows: Tensor) -> Self:
        return self.with_inputs((self._x.index_select(0, rows), self._weight))

    def _v(self, w: Tensor) -> Tensor:
        """R w + x, (B, d)."""
        return torch.addmm(self._x, w, self._lift.T)


def repeated(x: Tensor, rows: Tensor) -> Tensor:
    """The batch x, (B, d), as often as `rows` holds batches."""
    return x.repeat(len(rows) // max(len(x), 1), 1)
