"""The map of any callable or torch module, lifted or not."""

from __future__ import annotations

from collections.abc import Callable
from functools import singledispatch
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from ._map import Bindable, FixedPointMap, FunctionMap, MapCost


class LayerMap(FixedPointMap):
    """w ↦ q(R w + x), or w ↦ f(w, x) without a lift, with Jacobians by autograd.

    Its inputs are x and all parameters of the layer, if that is a torch module.

    Args:
        layer: q(v) → (B, n) for v (B, d); or f(w, x) → (B, n) if `lift` is None.
        x: features, (B, ...).
        lift: R, (d, n), or None.
        cost: circuits of one sample's evaluation, where the layer runs circuits.
    """

    def __init__(self, layer: Callable[..., Tensor], x: Tensor, lift: Tensor | None, *, cost: MapCost) -> None:
        call, parameters = _with_explicit_parameters(layer)
        self._of_w = FunctionMap(_state_function(call, lift), (x, *parameters), batched=1, cost=cost)
        self._of_v = None if lift is None else FunctionMap(call, parameters, batched=0)
        self._lift = lift

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._of_w.inputs

    @property
    def cost(self) -> MapCost:
        return self._of_w.cost

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> LayerMap:
        return self._with(self._of_w.with_inputs(inputs))

    def select(self, rows: Tensor) -> LayerMap:
        return self._with(self._of_w.select(rows))

    def value(self, w: Tensor) -> Tensor:
        return self._of_w.value(w)

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        return self._of_w.value_and_jacobian(w)

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        if self._of_v is None or self._lift is None:
            return self.value_and_jacobian(w)[1]
        x, *parameters = self.inputs
        return self._of_v.with_inputs(tuple(parameters)).value_and_jacobian(x + w @ self._lift.mT)[1]

    def at_features(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        if self._of_v is None or self._lift is None:
            return super().at_features(w)
        x, *parameters = self.inputs
        of_v = self._of_v.with_inputs(tuple(parameters))
        return x + w @ self._lift.mT, lambda v: of_v.value(v).to(v.dtype)

    def _with(self, of_w: FunctionMap) -> LayerMap:
        new = object.__new__(LayerMap)
        new._of_w, new._of_v, new._lift = of_w, self._of_v, self._lift
        return new


@singledispatch
def bind_layer(layer: Any, x: Tensor, lift: Tensor, *, cost: MapCost) -> FixedPointMap:
    """The map w ↦ q(R w + x) of a layer; the best one that is known for the layer's type.

    A type that cannot be made `Bindable`, because it is not ours, is given its own by `bind_layer.register(type)`.

    Args:
        layer: q, a callable if its type is not known here.
        x: features, (B, d).
        lift: R, (d, n).
        cost: circuits of one sample's evaluation, for a layer whose map does not know.
    """
    bind = _late(type(layer))
    return LayerMap(layer, x, lift, cost=cost) if bind is None else bind(layer, x, lift, cost=cost)


_LATE = {"qiskit_machine_learning": "qdeq_qiskit.backends.estimator"}
"""Modules that register maps for the layers of a package; imported when the first such layer is bound, not before."""


def _late(kind: type) -> Callable[..., FixedPointMap] | None:
    """What a module that has not been imported yet registers for a type."""
    for package in {base.__module__.partition(".")[0] for base in kind.__mro__} & set(_LATE):
        import_module(_LATE[package])
    bind = bind_layer.dispatch(kind)
    return None if bind is bind_layer.dispatch(object) else bind


@bind_layer.register
def _(layer: Bindable, x: Tensor, lift: Tensor, *, cost: MapCost) -> FixedPointMap:
    return layer.bind(x, lift)


def _state_function(call: Callable[..., Tensor], lift: Tensor | None) -> Callable[..., Tensor]:
    """The layer as a function of (w, x, *parameters), in the precision of w."""
    if lift is None:
        return lambda w, x, *parameters: call(w, x, *parameters).to(w.dtype)
    raised = lift.mT
    return lambda w, x, *parameters: call(x + w @ raised, *parameters).to(w.dtype)


def _with_explicit_parameters(layer: Callable[..., Tensor]) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    """The layer as a function of its arguments followed by its parameters, and those parameters."""
    if not isinstance(layer, nn.Module):
        return layer, ()
    named = dict(layer.named_parameters())
    own = tuple(named.values())

    def call(*arguments_and_parameters: Tensor) -> Tensor:
        split = len(arguments_and_parameters) - len(own)
        arguments, parameters = arguments_and_parameters[:split], arguments_and_parameters[split:]
        if all(given is mine for given, mine in zip(parameters, own, strict=True)):
            return layer(*arguments)
        return torch.func.functional_call(layer, dict(zip(named, parameters, strict=True)), arguments)

    return call, own
