"""The usual case of a small closed-form map, fast: every sample converges within a few iterations.

There an iteration costs its operators' overhead and little else, whatever the number of samples. To drop those that
have converged takes a dozen operators; to let them stay where they are takes one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._map import FixedPointMap
from ._root import MOST_ITERATIONS, Root, checked_value, converged_root, residuals
from .solvers import Evaluation, Solver


def search_carrying(
    fixed_point_map: FixedPointMap, start: Tensor, solver: Solver, *, interval: int, keep_jacobian: bool, trace: bool
) -> Root | None:
    """The root that `search` finds; None if not all samples converge soon.

    Args:
        fixed_point_map: the map, frozen, with `carries`.
        start: the first iterate, (B, n).
        solver: one that uses Jacobians, and so has no memory.
        interval: iterations between two looks at what has converged.
        keep_jacobian: whether `Root.jacobian` is wanted; it is None all the same if Picard's steps were enough.
        trace: whether `Root.trace` is wanted.
    """
    # Without the bookkeeping of autograd an operator takes an eighth less time.
    with torch.inference_mode():
        found = _iterate(fixed_point_map, start, solver, interval)
    if found is None:
        return None
    now, residual, evaluations, relatives = found
    return converged_root(
        *(part.clone() for part in (now.w, residual, now.relative_residual, evaluations)),  # ordinary tensors again
        jacobian=now.jacobian.clone() if keep_jacobian and now.jacobian is not None else None,
        picard_steps=solver.picard_steps,
        trace=[relative.clone() for relative in relatives] if trace else None,
    )


def _iterate(
    fixed_point_map: FixedPointMap, start: Tensor, solver: Solver, interval: int
) -> tuple[Evaluation, Tensor, Tensor, list[Tensor]] | None:
    """The last evaluation, its residual, how many each sample needed, (B,), and the relative residual at each."""
    tolerance = solver.tolerance
    w, relatives = start, []
    evaluations = torch.ones(start.shape[0], dtype=torch.int64, device=start.device)
    most = min(solver.max_iterations, MOST_ITERATIONS) + 1
    for iteration in range(most - most % interval):  # what comes after the last look would not be seen
        if solver.wants_jacobian(0, iteration):
            value, jacobian = fixed_point_map.value_and_jacobian(w)
        else:
            value, jacobian = fixed_point_map.value(w), None
        difference = checked_value(value, w) - w
        residual, relative = residuals(value, difference)
        relatives.append(relative)
        now = Evaluation(iteration, 0, w, difference, relative, jacobian)
        looks = (iteration + 1) % interval == 0
        if looks and float(relative.max()) <= tolerance:
            return now, residual, evaluations, relatives
        ahead, _ = solver.step(now, ())
        if looks and float(relative.min()) > tolerance:
            evaluations.add_(1)
            w = ahead
        else:
            sought = relative > tolerance
            evaluations.add_(sought)
            w = torch.where(sought.unsqueeze(1), ahead, w)
    return None
