"""The usual case of a small closed-form map, fast: every sample converges within a few iterations.

There an iteration costs its operators' overhead and little else, whatever the number of samples. To drop those that
have converged takes a dozen operators; to let them stay where they are takes one.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._map import FixedPointMap
from ._reason import Reason
from ._root import Root, residuals
from .solvers import Evaluation, Solver

MOST_ITERATIONS = 8
"""A batch that takes longer has hard samples, for which the others should not be evaluated on and on."""


def search_carrying(
    fixed_point_map: FixedPointMap, start: Tensor, solver: Solver, *, interval: int, trace: bool
) -> Root | None:
    """The root that `search` finds, with its Jacobian; None if not all samples converge soon.

    Args:
        fixed_point_map: the map, frozen, with `carries`.
        start: the first iterate, (B, n).
        solver: one that uses Jacobians, and so has no memory.
        interval: iterations between two looks at what has converged.
        trace: whether `Root.trace` is wanted.
    """
    tolerance = solver.tolerance
    w, past = start, []
    evaluations = torch.ones(start.shape[0], dtype=torch.int64, device=start.device)
    for iteration in range(min(solver.max_iterations, MOST_ITERATIONS) + 1):
        if solver.wants_jacobian(0, iteration):
            value, jacobian = fixed_point_map.value_and_jacobian(w)
        else:
            value, jacobian = fixed_point_map.value(w), None
        difference = value - w
        residual, relative = residuals(value, difference)
        if trace:
            past.append(relative)
        looks = (iteration + 1) % interval == 0
        if looks and float(relative.max()) <= tolerance:
            break
        w_ahead, _ = solver.step(Evaluation(iteration, 0, w, difference, relative, jacobian), ())
        if looks and float(relative.min()) > tolerance:
            evaluations.add_(1)
            w = w_ahead
        else:
            sought = relative > tolerance
            evaluations.add_(sought)
            w = torch.where(sought.unsqueeze(1), w_ahead, w)
    else:
        return None
    return Root(
        w=w,
        residual=residual,
        relative_residual=relative,
        iterations=evaluations - 1,
        evaluations=evaluations,
        jacobian_evaluations=(evaluations - solver.picard_steps).clamp_(min=0),
        converged=torch.ones_like(evaluations, dtype=torch.bool),
        reason=torch.full_like(evaluations, int(Reason.CONVERGED)),
        unconverged=0,
        jacobian=jacobian,
        trace=past if trace else None,
    )
