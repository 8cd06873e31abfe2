"""A map q(R w + x) given as a torch function of v = R w + x and of tensors that all samples share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from qdeq_qiskit.equilibrium import FixedPointMap, FunctionMap, MapCost


class LiftedMap(FixedPointMap):
    """w ↦ q(R w + x), its Jacobians by autograd.

    Args:
        function: `function(v, *shared)` → (B, K), row by row.
        x: features, (B, d).
        shared: operators and weights.
        lift: R, (d, n).
        cost: circuits that a machine would need.
    """

    def __init__(
        self, function: Callable[..., Tensor], x: Tensor, shared: tuple[Tensor, ...], lift: Tensor, cost: MapCost
    ) -> None:
        self._function = function
        self._x = x
        self._shared = shared
        self._lift = lift
        self._cost = cost

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._x, *self._shared

    @property
    def cost(self) -> MapCost:
        return self._cost

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> LiftedMap:
        x, *shared = inputs
        return LiftedMap(self._function, x, tuple(shared), self._lift, self._cost)

    def select(self, rows: Tensor) -> LiftedMap:
        return self.with_inputs((self._x.index_select(0, rows), *self._shared))

    def value(self, w: Tensor) -> Tensor:
        return self._of_state(w, self._x, *self._shared)

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        return FunctionMap(self._of_state, self.inputs, batched=1).value_and_jacobian(w)

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        v = torch.addmm(self._x, w, self._lift.T)
        return FunctionMap(self._function, self._shared, batched=0).value_and_jacobian(v)[1]

    def at_features(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        v = torch.addmm(self._x, w, self._lift.T)
        return v, lambda at: self._function(at, *self._shared)

    def _of_state(self, w: Tensor, x: Tensor, *shared: Tensor) -> Tensor:
        return self._function(torch.addmm(x, w, self._lift.T), *shared)
