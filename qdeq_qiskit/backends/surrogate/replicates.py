"""Fixed points for many draws of the operators at once: what errors of M, shared by all samples, do to them."""

from __future__ import annotations

import torch
from torch import Tensor

from qdeq_qiskit.backends.maps import JoinedQuadraticMap, ReducedQuadraticMap
from qdeq_qiskit.equilibrium import MapCost, Solver, solve

# Numbers that the reduced forms of one part hold.
_PART = 2**23


def solve_replicates(
    operators: Tensor, x: Tensor, lift: Tensor, *, solver: Solver | None, layers: int = 1
) -> tuple[Tensor, Tensor]:
    """The states of every sample under every draw of the operators.

    Args:
        operators: A, (R, K, d, d), double precision.
        x: features, (N, d), as the operators.
        lift: R, (d, n).
        solver: from w₀ = 0; None to apply the map `layers` times instead.
        layers: applications without a solver.

    Returns:
        w, (R, N, n), and whether each converged, (R, N); all true without a solver.
    """
    size = (lift.shape[1] + 1) ** 2 * (operators.shape[1] + 1) * max(1, len(x))
    states, converged = [], []
    with torch.no_grad():
        for part in operators.split(max(1, _PART // size)):
            fixed_point_map = JoinedQuadraticMap.of([ReducedQuadraticMap.of(each, x, lift, MapCost()) for each in part])
            w = x.new_zeros(len(part) * len(x), lift.shape[1])
            done = torch.ones(len(w), dtype=torch.bool)
            if solver is not None:
                root = solve(fixed_point_map, w, solver)
                w, done = root.w, root.converged
            else:
                for _ in range(layers):
                    w = fixed_point_map.value(w)
            states.append(w.unflatten(0, (len(part), len(x))))
            converged.append(done.unflatten(0, (len(part), len(x))))
    return torch.cat(states), torch.cat(converged)
