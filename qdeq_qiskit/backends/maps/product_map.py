"""The map of a product-state encoder, whichever way its outputs are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from qdeq_qiskit.equilibrium import FixedPointMap, MapCost


class ProductOutputs(Protocol):
    """q behind a product-state encoder, and its derivatives: through operators, or state by state."""

    def value(self, v: Tensor, block: Tensor) -> Tensor:
        """q, (B, K), of features, (B, d), given what the weight block amounts to."""

    def value_and_jacobian(self, v: Tensor, block: Tensor, lift: Tensor) -> tuple[Tensor, Tensor]:
        """q, (B, K), and ∂q/∂w, (B, K, m), for v = R w + x, (B, d), and a lift R, (d, m)."""


class ProductMap(FixedPointMap):
    """w ↦ q(R w + x) for a product-state encoder.

    Args:
        block: what the weight block amounts to, as `outputs` takes it: Pauli coefficients T, (K, 4ⁿ), or factors of W.
        x: features, (B, d).
        lift: R, (d, n).
        outputs: computes q.
        cost: circuits that a machine would need.
    """

    def __init__(self, block: Tensor, x: Tensor, lift: Tensor, outputs: ProductOutputs, cost: MapCost) -> None:
        self._block = block
        self._x = x
        self._lift = lift
        self.outputs = outputs
        self._cost = cost

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._block, self._x

    @property
    def cost(self) -> MapCost:
        return self._cost

    @property
    def carries(self) -> bool:
        # On an accelerator to find out which samples have converged costs more than to evaluate all of them.
        return self._x.device.type != "cpu"

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> ProductMap:
        block, x = inputs
        return ProductMap(block, x, self._lift, self.outputs, self._cost)

    def select(self, rows: Tensor) -> ProductMap:
        return self.with_inputs((self._block, self._x.index_select(0, rows)))

    def value(self, w: Tensor) -> Tensor:
        return self.outputs.value(self._features(w), self._block)

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        return self.outputs.value_and_jacobian(self._features(w), self._block, self._lift)

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        identity = torch.eye(self._x.shape[1], dtype=self._x.dtype, device=self._x.device)
        return self.outputs.value_and_jacobian(self._features(w), self._block, identity)[1]

    def at_features(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self._features(w), lambda v: self.outputs.value(v, self._block)

    def _features(self, w: Tensor) -> Tensor:
        """v = R w + x, (B, d)."""
        return torch.addmm(self._x, w, self._lift.T)
