"""Newton's method with a Jacobian that is kept for as long as it serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._options import check_count, check_number
from ._solver import Evaluation, Solver, State


@dataclass(frozen=True, kw_only=True)
class ChordNewton(Solver):
    """w ← w + τ_k (I − J)⁻¹ (f(w) − w) with J = ∂f/∂w of an earlier iterate, each sample with its own.

    J is evaluated before the sample's first step, and anew when the residual has not shrunk to `stall` times the one
    before. For where a Jacobian costs many times an evaluation. With noisy evaluations the residual stalls always:
    there `refreshes=0`, one measured Jacobian, and `decay=1`, τ_k = 1/k (Robbins and Monro), so that noise averages
    out.

    The chord method, refreshed as by Shamanskii: Kelley, Solving Nonlinear Equations with Newton's Method (SIAM 2003),
    section 2.3; the step lengths: Robbins, Monro, Ann. Math. Statist. 22 (1951) 400.

    Attributes:
        tolerance: on the relative residual.
        max_iterations: most steps.
        picard_steps: steps w ← f(w) before the first Jacobian is evaluated.
        stall: the largest ratio of residuals that is progress, in (0, 1].
        refreshes: most further Jacobians of a sample, after the first.
        decay: p in τ_k = k⁻ᵖ for the k-th step with a Jacobian; 0 for full steps.
    """

    kind: ClassVar[str] = "chord_newton"
    uses_jacobian: ClassVar[bool] = False
    asks_for_jacobian: ClassVar[bool] = True

    tolerance: float = 1e-4
    max_iterations: int = 50
    picard_steps: int = 1
    stall: float = 0.5
    refreshes: int = 20
    decay: float = 0.0

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, least=0)
        check_count("max_iterations", self.max_iterations, least=1)
        check_count("picard_steps", self.picard_steps, least=0)
        check_number("stall", self.stall, above=0, most=1)
        check_count("refreshes", self.refreshes, least=0)
        check_number("decay", self.decay, least=0, most=1)

    def stalled(self, now: Evaluation, state: State) -> Tensor:
        if now.iteration < self.picard_steps:
            return torch.zeros_like(now.relative_residual, dtype=torch.bool)
        if not state:
            return torch.ones_like(now.relative_residual, dtype=torch.bool)
        _, before, taken, _ = state
        return (_size(now) > self.stall * before) & (taken <= self.refreshes)

    def step(self, now: Evaluation, state: State) -> tuple[Tensor, State]:
        """The state holds J, the residual before, how many Jacobians were evaluated, and the next iterate."""
        if now.iteration < self.picard_steps:
            return now.w + now.difference, ()
        fresh = self.stalled(now, state)
        if now.jacobian is None:  # then no sample needs one, and each has its own
            jacobian, _, taken, _ = state
        elif not state:
            jacobian, taken = now.jacobian, torch.ones_like(fresh, dtype=torch.int64)
        else:
            jacobian = torch.where(fresh[:, None, None], now.jacobian, state[0])
            taken = state[2] + fresh
        system = torch.eye(now.w.shape[1], dtype=now.w.dtype, device=now.w.device) - jacobian
        newton = torch.linalg.solve_ex(system, now.difference)[0]
        length = (now.iteration - self.picard_steps + 1) ** -self.decay
        w = now.w + length * newton
        return w, (jacobian, _size(now), taken, w)

    def finish(self, state: State) -> Tensor | None:
        """With shrinking steps the last iterate: among noisy residuals the least says little."""
        return state[3] if self.decay and state else None


def _size(now: Evaluation) -> Tensor:
    """‖f(w) − w‖, (M,), by which progress is judged, and which no gradient passes through."""
    return torch.linalg.vector_norm(now.difference.detach(), dim=1)
