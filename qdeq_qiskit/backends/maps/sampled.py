"""The map of a layer that is measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor

from qdeq_qiskit.backends.maps.measured import MeasuredMap, repeated
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost, MeasuredJacobian, PlannedCall

if TYPE_CHECKING:
    from qdeq_qiskit.backends.sampled import SampledLayer

Layer: TypeAlias = "SampledLayer"


class SampledMap(MeasuredMap[Layer]):
    """w ↦ q(R w + x), measured anew at every evaluation.

    Its Jacobian is measured too, together with the value, and is a constant to autograd. The value is not: a gradient
    through a Newton step is therefore the implicit one where the iteration has converged, and not further from the
    fixed point. That gradient is measured when it is asked for, with all its shifts, once for each recorded value.
    """

    @property
    def cost(self) -> MapCost:
        return self._source.cost(self._lift.shape[1])

    @property
    def is_sampled(self) -> bool:
        return self._source.is_sampled

    @property
    def noiseless(self) -> FixedPointMap:
        self._source.check_reach(len(self._x))
        x, weight, lift = (tensor.detach().cpu().double() for tensor in (self._x, self._weight, self._lift))
        return self._source.noiseless.bind(x, lift, weight)

    def affords(self, calls: Sequence[PlannedCall]) -> bool:
        return self._source.affords(calls, self._lift.shape[1])

    def value(self, w: Tensor) -> Tensor:
        return self._source.value(self._v(w), self._weight, near=self._x)

    def at_features(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self._v(w), lambda at: self._source.value(at, self._weight, near=repeated(self._x, at))

    def pullback_at_root(self, w: Tensor) -> Callable[[Tensor], Tensor]:
        # Each product is measured anew, as it would be on a machine that is asked for nothing else.
        return lambda u: torch.einsum("bk,bkl->bl", u, self.jacobian_at_root(w))

    def measure(self, w: Tensor, *, shots: int | None = None) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            measured = self._source.measure(self._v(w), self._weight, shots=shots, near=self._x)
        return measured.values.to(w), measured.covariance.to(w)

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        v = self._v(w)
        measured, jacobian = self._source.value_and_jacobian(v, self._weight, self._lift, near=self._x)
        return self._source.value(v, self._weight, measured, near=self._x), jacobian

    def measure_jacobian(self, w: Tensor, value: Tensor, *, shots: int | None = None) -> MeasuredJacobian:
        with torch.no_grad():
            found = self._source.measure_jacobian(
                self._v(w), self._weight, self._lift, value, shots=shots, near=self._x
            )
        return MeasuredJacobian(found.jacobian.to(w), found.along.to(w), found.covariance.to(w))

    def vjp(self, w: Tensor, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_weight = (tensor.requires_grad for tensor in self.inputs)
        if not (of_x or of_weight):
            return None, None
        v = self._v(w).detach()
        return self._source.vjp(v, self._weight, cotangent, of_v=of_x, of_weight=of_weight, near=self._x.detach())

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        identity = torch.eye(self._x.shape[1], dtype=self._x.dtype, device=self._x.device)
        return self._source.value_and_jacobian(self._v(w), self._weight, identity, near=self._x)[1]
