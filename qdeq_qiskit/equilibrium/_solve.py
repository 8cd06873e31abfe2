"""Fixed points by any solver."""

from __future__ import annotations

from torch import Tensor

from ._map import FixedPointMap
from ._root import Root
from ._sampled_solve import solve_sampled
from ._search import search
from .solvers import Solver
from .solvers.sampled import SampledSolver


def solve(
    fixed_point_map: FixedPointMap,
    start: Tensor,
    solver: Solver,
    *,
    keep_jacobian: bool = False,
    keep_inverse: bool = False,
    trace: bool = False,
) -> Root:
    """Finds the fixed point of every sample of a batch.

    A sample that has converged is not evaluated again. Nothing of a sample's answer depends on the other samples, but
    what a budget that they share leaves for it, and the scale of a noiseless Jacobian, which is learned from all.
    Where grad mode is on, the iterations are recorded (and can be differentiated through), but for those of the
    statistical solver, which has a driver of its own.

    Args:
        fixed_point_map: the map; `frozen()` it first unless its iterations are to be recorded.
        start: the first iterate, (B, n).
        solver: the rule of the iterations.
        keep_jacobian: whether `Root.jacobian` is wanted, if the solver uses Jacobians.
        keep_inverse: whether `Root.inverse` is wanted, if the solver estimates it.
        trace: whether `Root.trace` is wanted.
    """
    if isinstance(solver, SampledSolver):
        return solve_sampled(fixed_point_map, start, solver, trace=trace)
    return search(fixed_point_map, start, solver, keep_jacobian=keep_jacobian, keep_inverse=keep_inverse, trace=trace)
