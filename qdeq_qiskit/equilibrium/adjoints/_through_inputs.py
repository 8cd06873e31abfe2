"""The autograd node that implicit differentiation and its approximations share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from .._map import FixedPointMap


class CotangentRule(ABC):
    """What u is, so that a cotangent g of the fixed point gives the map's inputs uᵀ ∂f/∂input; (B, n) both."""

    @abstractmethod
    def of(self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor) -> Tensor:
        """u; records nothing.

        Args:
            fixed_point_map: the map.
            w: its fixed points, (B, n).
            matrix: what was saved for this, (B, n, n).
            cotangent: g, (B, n).
        """

    @abstractmethod
    def recorded(
        self, fixed_point_map: FixedPointMap, w: Tensor, matrix: Tensor | None, cotangent: Tensor
    ) -> tuple[Tensor, Tensor]:
        """f(w), and u as a graph in the map's inputs, in w and in the cotangent."""


def attach_through_inputs(
    fixed_point_map: FixedPointMap, w: Tensor, rule: CotangentRule, matrix: Tensor | None, value: Tensor | None
) -> Tensor:
    """The fixed point w, (B, n), such that a cotangent g gives the map's inputs uᵀ ∂f/∂input.

    Derivatives of any order pass through the fixed point again, at its saved value.

    Args:
        fixed_point_map: the map.
        w: its fixed point, (B, n), without a gradient.
        rule: from g to u.
        matrix: what the rule needs, (B, n, n), kept until the backward pass; or None.
        value: f(w) as autograd has recorded it, (B, n), through which u can then go on; None to evaluate it again.
    """
    out: Tensor = _ThroughInputs.apply(fixed_point_map, rule, matrix, w, value, *fixed_point_map.inputs)
    return out


class _ThroughInputs(torch.autograd.Function):
    """Re-entrant: it keeps nothing but its own map and saved tensors, whose changes in place autograd refuses."""

    @staticmethod
    def forward(
        ctx: Any,
        fixed_point_map: FixedPointMap,
        rule: CotangentRule,
        matrix: Tensor | None,
        w: Tensor,
        value: Tensor | None,
        *inputs: Tensor,
    ) -> Tensor:
        out = w.clone()
        ctx.map, ctx.rule = fixed_point_map, rule
        ctx.value_is_recorded = value is not None and value.requires_grad
        ctx.save_for_backward(out, matrix, *inputs)
        return out

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        w, matrix, *inputs = ctx.saved_tensors
        (cotangent,) = cotangents
        if torch.is_grad_enabled():
            return (None,) * 5 + _recorded(ctx.map, ctx.rule, matrix, w, inputs, cotangent)
        u = ctx.rule.of(ctx.map, w, matrix, cotangent)
        if ctx.value_is_recorded:
            return (None, None, None, None, u, *(None for _ in inputs))
        return (None, None, None, None, None, *ctx.map.vjp(w, u))


def _recorded(
    fixed_point_map: FixedPointMap,
    rule: CotangentRule,
    matrix: Tensor | None,
    w: Tensor,
    inputs: list[Tensor],
    cotangent: Tensor,
) -> tuple[Tensor | None, ...]:
    """The same gradients as a graph in the inputs, the cotangent and w, which is itself a function of the inputs.

    The gradient wanted is that at fixed w. Differentiating with respect to aliases of the inputs, which w was not
    computed from, stops autograd from following w; w's own dependence is still there for the next order.
    """
    aliases = tuple(tensor.view_as(tensor) for tensor in inputs)
    value, u = rule.recorded(fixed_point_map.with_inputs(aliases), w, matrix, cotangent)
    wanted = [alias for alias in aliases if alias.requires_grad]
    if not wanted or not value.requires_grad:
        return (None,) * len(aliases)
    grads = iter(torch.autograd.grad(value, wanted, u, create_graph=True, allow_unused=True))
    return tuple(next(grads) if alias.requires_grad else None for alias in aliases)
