"""Broyden's method with limited memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._options import check_count, check_number
from ._solver import Evaluation, Solver, State


@dataclass(frozen=True, kw_only=True)
class Broyden(Solver):
    """Broyden's first ("good") method on g(w) = f(w) − w, one rank-one update of the inverse Jacobian a step.

    H ≈ (∂g/∂w)⁻¹ starts as −I, so that the first step is w ← f(w), and is kept as −I + Σ_j u_j v_jᵀ:
    H ← H + (Δw − H Δg) (Δwᵀ H) / (Δwᵀ H Δg). An update with a vanishing denominator is left out.

    Broyden, Math. Comp. 19 (1965) 577; the limited memory as in Bai et al., arXiv 1909.01377.

    Attributes:
        tolerance: on the relative residual.
        max_iterations: most steps.
        memory: how many updates are kept; the oldest is dropped.
    """

    kind: ClassVar[str] = "broyden"
    uses_jacobian: ClassVar[bool] = False

    tolerance: float = 1e-4
    max_iterations: int = 50
    memory: int = 20

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, least=0)
        check_count("max_iterations", self.max_iterations, least=1)
        check_count("memory", self.memory, least=1)

    def step(self, now: Evaluation, state: State) -> tuple[Tensor, State]:
        """The state holds the last w and f(w) − w, then u and v of each update: (w, difference, u, v, u, v, ...)."""
        updates: State = ()
        if state:
            old_w, old_difference, *kept = state
            updates = (*kept, *_update(kept, now.w - old_w, now.difference - old_difference))[-2 * self.memory :]
        return now.w - _inverse_times(updates, now.difference), (now.w, now.difference, *updates)


def _update(updates: list[Tensor], delta_w: Tensor, delta_g: Tensor) -> tuple[Tensor, Tensor]:
    """u, v of the rank-one update that makes H Δg = Δw."""
    mapped = _inverse_times(tuple(updates), delta_g)
    left = _inverse_times(tuple(updates), delta_w, transposed=True)
    denominator = (left * delta_g).sum(dim=1, keepdim=True)
    least = torch.finfo(delta_w.dtype).eps * torch.linalg.vector_norm(left, dim=1, keepdim=True)
    least = least * torch.linalg.vector_norm(delta_g, dim=1, keepdim=True)
    usable = denominator.abs() > least
    u = torch.where(usable, (delta_w - mapped) / torch.where(usable, denominator, torch.ones_like(denominator)), 0)
    return u, left


def _inverse_times(updates: State, vector: Tensor, *, transposed: bool = False) -> Tensor:
    """H · vector, or Hᵀ · vector, (M, n)."""
    if not updates:
        return -vector
    first, second = torch.stack(updates[0::2], dim=1), torch.stack(updates[1::2], dim=1)
    if transposed:
        first, second = second, first
    weights = (second * vector.unsqueeze(1)).sum(dim=2, keepdim=True)
    return (first * weights).sum(dim=1) - vector
