"""The usual case of a small closed-form map, fast: every sample converges within a few iterations.

There an iteration costs its operators' overhead and little else, whatever the number of samples. To drop those that
have converged takes a dozen operators; to let them stay where they are takes one, and no look at what has converged. So
on an accelerator the whole solve is asked for at once, and looked at when it is over.
"""

from __future__ import annotations

import torch
from torch import Tensor

from . import _looks
from ._map import FixedPointMap
from ._root import MOST_ITERATIONS, Root, checked_value, converged_root, residuals
from .solvers import Evaluation, Solver

EVALUATIONS_IN_ONE_GO = 8
"""Evaluations before the only look on an accelerator. In training `mnist4` takes 5 to 7, nearly always 6."""


def search_carrying(
    fixed_point_map: FixedPointMap, start: Tensor, solver: Solver, *, in_one_go: bool, keep_jacobian: bool, trace: bool
) -> Root | None:
    """The root that `search` finds; None if not all samples converge soon.

    Args:
        fixed_point_map: the map, frozen, with `carries`.
        start: the first iterate, (B, n).
        solver: one that uses Jacobians, and so has no memory.
        in_one_go: whether to look once, at the end, at what has converged, not after each evaluation; the answers are
            the same.
        keep_jacobian: whether `Root.jacobian` is wanted; it is None all the same if Picard's steps were enough.
        trace: whether `Root.trace` is wanted.
    """
    # Without the bookkeeping of autograd an operator takes an eighth less time; some maps need it, in `torch.func`.
    with torch.no_grad() if in_one_go else torch.inference_mode():
        found = (_iterate_in_one_go if in_one_go else _iterate)(fixed_point_map, start, solver)
    if found is None:
        return None
    now, residual, evaluations, relatives = found
    if trace and in_one_go:  # without the evaluations after the last that any sample needed
        relatives = relatives[: int(evaluations.max())]
    return converged_root(
        *(part.clone() for part in (now.w, residual, now.relative_residual, evaluations)),  # ordinary tensors again
        jacobian=now.jacobian.clone() if keep_jacobian and now.jacobian is not None else None,
        picard_steps=solver.picard_steps,
        trace=[relative.clone() for relative in relatives] if trace else None,
    )


_Found = tuple[Evaluation, Tensor, Tensor, list[Tensor]]
"""The last evaluation, its residual, how many each sample needed, (B,), and the relative residual at each."""


def _iterate(fixed_point_map: FixedPointMap, start: Tensor, solver: Solver) -> _Found | None:
    """As far as needed, a look after each evaluation."""
    tolerance = solver.tolerance
    w, relatives = start, []
    evaluations = torch.ones(start.shape[0], dtype=torch.int64, device=start.device)
    for iteration in range(min(solver.max_iterations, MOST_ITERATIONS) + 1):
        now, residual = _evaluation(fixed_point_map, w, solver, iteration)
        relative = now.relative_residual
        relatives.append(relative)
        if float(relative.max()) <= tolerance:
            return now, residual, evaluations, relatives
        ahead, _ = solver.step(now, ())
        if float(relative.min()) > tolerance:
            evaluations.add_(1)
            w = ahead
        else:
            sought = relative > tolerance
            evaluations.add_(sought)
            w = torch.where(sought.unsqueeze(1), ahead, w)
    return None


def _iterate_in_one_go(fixed_point_map: FixedPointMap, start: Tensor, solver: Solver) -> _Found | None:
    """As far as nearly every batch needs, then one look."""
    tolerance = solver.tolerance
    relatives: list[Tensor] = []
    evaluations = torch.ones(start.shape[0], dtype=torch.int64, device=start.device)
    now, residual = _evaluation(fixed_point_map, start, solver, 0)
    for iteration in range(1, min(solver.max_iterations + 1, EVALUATIONS_IN_ONE_GO)):
        relatives.append(now.relative_residual)
        sought = now.relative_residual > tolerance
        evaluations.add_(sought)
        w = torch.where(sought.unsqueeze(1), solver.step(now, ())[0], now.w)
        now, residual = _evaluation(fixed_point_map, w, solver, iteration)
    relatives.append(now.relative_residual)
    if not _looks.holds((now.relative_residual <= tolerance).all()):
        return None
    return now, residual, evaluations, relatives


def _evaluation(fixed_point_map: FixedPointMap, w: Tensor, solver: Solver, iteration: int) -> tuple[Evaluation, Tensor]:
    """f at w, with ∂f/∂w where the solver wants it, and the residual, (B,)."""
    if solver.wants_jacobian(0, iteration):
        value, jacobian = fixed_point_map.value_and_jacobian(w)
    else:
        value, jacobian = fixed_point_map.value(w), None
    difference = checked_value(value, w) - w
    residual, relative = residuals(value, difference)
    return Evaluation(iteration, 0, w, difference, relative, jacobian), residual
