"""How the fixed point of a step is found: by this library, or by torchdeq around the same circuit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

Solved = tuple[Tensor, Tensor | None]
"""z* = R w*, (B, d), with its implicit gradient, and the Jacobian penalty, if there is one."""


class Solving(Protocol):
    """A way of solving."""

    def __call__(
        self, layer: nn.Module, lift: Tensor, *, tolerance: float, penalised: bool
    ) -> Callable[[Tensor], Solved]:
        """From features, (B, d), to the solution; `tolerance` is on the relative residual of each sample."""


def by_equilibrium(layer: nn.Module, lift: Tensor, *, tolerance: float, penalised: bool) -> Callable[[Tensor], Solved]:
    """The library's Newton, its implicit gradient and its reduced penalty."""
    from qdeq_qiskit.equilibrium import Equilibrium, Newton, ReducedJacobianPenalty

    penalty = ReducedJacobianPenalty() if penalised else None
    equilibrium = Equilibrium(
        layer, lift=lift, solver=Newton(tolerance=tolerance), penalty=penalty, on_failure="record"
    )

    def solved(features: Tensor) -> Solved:
        solution = equilibrium(features)
        return solution.state, solution.penalty

    return solved


def by_torchdeq(layer: nn.Module, lift: Tensor, *, tolerance: float, penalised: bool) -> Callable[[Tensor], Solved]:
    """torchdeq's Broyden, forward and backward (`ift`), as in the paper's code: ten iterations at most each way.

    More where the tolerance is tight, as for the comparison of numbers. Without a penalty: it has another kind.
    """
    import torchdeq

    assert not penalised
    iterations = 10 if tolerance >= 1e-4 else 60
    deq = torchdeq.get_deq(
        f_solver="broyden",
        b_solver="broyden",
        ift=True,
        f_tol=tolerance,
        b_tol=tolerance,
        f_stop_mode="rel",
        b_stop_mode="rel",
        f_max_iter=iterations,
        b_max_iter=iterations,
    )

    def solved(features: Tensor) -> Solved:
        start = torch.zeros(len(features), lift.shape[1], dtype=features.dtype)
        found, _ = deq(lambda w: layer(features + w @ lift.mT), start)
        return found[-1] @ lift.mT, None

    return solved


SOLVING: dict[str, Solving] = {"equilibrium": by_equilibrium, "torchdeq": by_torchdeq}
"""By name, for another interpreter."""
