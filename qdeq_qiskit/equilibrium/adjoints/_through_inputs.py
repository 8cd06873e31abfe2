"""The autograd node that implicit differentiation and its approximations share."""

from __future__ import annotations

import math
import warnings
from typing import Any

import torch
from torch import Tensor

from .._map import FixedPointMap


def attach_through_inputs(
    fixed_point_map: FixedPointMap, w: Tensor, jacobian: Tensor | None, value: Tensor | None
) -> Tensor:
    """The fixed point w, (B, n), such that a cotangent g gives the map's inputs uᵀ ∂f/∂input.

    u solves (I − Jᵀ) u = g, or is g itself without a Jacobian. Derivatives of any order pass through the fixed
    point again, at its saved value.

    Args:
        fixed_point_map: the map.
        w: its fixed point, (B, n), without a gradient.
        jacobian: J = ∂f/∂w there, (B, n, n), or None for u = g.
        value: f(w) as autograd has recorded it, (B, n), through which u can then go on; None to evaluate it again.
    """
    out: Tensor = _ThroughInputs.apply(fixed_point_map, jacobian, w, value, *fixed_point_map.inputs)
    return out


class _ThroughInputs(torch.autograd.Function):
    """Re-entrant: it keeps nothing but its own map and saved tensors, whose changes in place autograd refuses."""

    @staticmethod
    def forward(
        ctx: Any,
        fixed_point_map: FixedPointMap,
        jacobian: Tensor | None,
        w: Tensor,
        value: Tensor | None,
        *inputs: Tensor,
    ) -> Tensor:
        out = w.clone()
        ctx.map = fixed_point_map
        ctx.value_is_recorded = value is not None and value.requires_grad
        ctx.save_for_backward(out, jacobian, *inputs)
        return out

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        w, jacobian, *inputs = ctx.saved_tensors
        (cotangent,) = cotangents
        if torch.is_grad_enabled():
            return (None, None, None, None, *_recorded(ctx.map, jacobian is not None, w, inputs, cotangent))
        u = cotangent if jacobian is None else _solve_adjoint(jacobian, cotangent)
        if ctx.value_is_recorded:
            return (None, None, None, u, *(None for _ in inputs))
        return (None, None, None, None, *ctx.map.vjp(w, u))


def _solve_adjoint(jacobian: Tensor, cotangent: Tensor) -> Tensor:
    """u of (I − Jᵀ) u = g, (B, n); zero, with a warning, for samples where I − J is singular."""
    system = jacobian.mT.neg()
    system.diagonal(dim1=1, dim2=2).add_(1)
    u = torch.linalg.solve_ex(system, cotangent)[0]
    if not math.isfinite(float(u.sum())) and bool(cotangent.isfinite().all()):
        finite = u.isfinite().all(dim=1, keepdim=True)
        warnings.warn(
            f"I − J is singular at {int((~finite).sum())} of {len(u)} fixed points: these samples contribute nothing "
            "to the gradient. A Jacobian penalty keeps fixed points away from such places.",
            RuntimeWarning,
            stacklevel=2,
        )
        u = torch.where(finite, u, torch.zeros_like(u))
    return u


def _recorded(
    fixed_point_map: FixedPointMap, implicit: bool, w: Tensor, inputs: list[Tensor], cotangent: Tensor
) -> tuple[Tensor | None, ...]:
    """The same gradients as a graph in the inputs, the cotangent and w, which is itself a function of the inputs.

    The gradient wanted is that at fixed w. Differentiating with respect to aliases of the inputs, which w was not
    computed from, stops autograd from following w; w's own dependence is still there for the next order.
    """
    aliases = tuple(tensor.view_as(tensor) for tensor in inputs)
    here = fixed_point_map.with_inputs(aliases)
    if implicit:
        value, jacobian = here.value_and_jacobian(w)
        system = torch.eye(w.shape[1], dtype=w.dtype, device=w.device) - jacobian.mT
        u = torch.linalg.solve(system, cotangent)
    else:
        value, u = here.value(w), cotangent
    wanted = [alias for alias in aliases if alias.requires_grad]
    if not wanted or not value.requires_grad:
        return (None,) * len(aliases)
    grads = iter(torch.autograd.grad(value, wanted, u, create_graph=True, allow_unused=True))
    return tuple(next(grads) if alias.requires_grad else None for alias in aliases)
