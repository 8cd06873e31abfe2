"""Broyden's method with limited memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._options import check_count, check_number
from ._solver import Evaluation, Solver, State

_DECREASE = 1e-4
"""The share of a step's length by which it must lessen the residual, Armijo's."""


@dataclass(frozen=True, kw_only=True)
class Broyden(Solver):
    """Broyden's first ("good") method on g(w) = f(w) − w, one rank-one update of the inverse Jacobian a step.

    H ≈ (∂g/∂w)⁻¹ starts as −I, so that the first step is w ← f(w), and is kept as −I + Σ_j u_j v_jᵀ:
    H ← H + (Δw − H Δg) (Δwᵀ H) / (Δwᵀ H Δg). An update with a vanishing denominator is left out.

    With `backtracks` a step is shortened, sample by sample, while it does not lessen the residual: the length s is
    accepted if ‖g(w + s d)‖ ≤ (1 − s/10⁴ + η_k) ‖g(w)‖, where η_k = 1/(k + 1)² lets early steps climb; else the next
    one is where a parabola through the two residuals has its least, in s/10 … s/2. A trial costs one evaluation, and
    one of `max_iterations`; a step that is accepted at once costs none beside. The last trial is taken as it is.

    Broyden, Math. Comp. 19 (1965) 577; the limited memory as in Bai et al., arXiv 1909.01377; the line search after
    Li, Fukushima, Optim. Methods Softw. 13 (2000) 181.

    Attributes:
        tolerance: on the relative residual.
        max_iterations: most steps.
        memory: how many updates are kept; the oldest is dropped.
        backtracks: how many times a step may be shortened; 0 for no line search.
    """

    kind: ClassVar[str] = "broyden"
    uses_jacobian: ClassVar[bool] = False
    estimates_inverse: ClassVar[bool] = True

    tolerance: float = 1e-4
    max_iterations: int = 50
    memory: int = 20
    backtracks: int = 0

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, least=0)
        check_count("max_iterations", self.max_iterations, least=1)
        check_count("memory", self.memory, least=1)
        check_count("backtracks", self.backtracks, least=0)

    def step(self, now: Evaluation, state: State) -> tuple[Tensor, State]:
        """The state holds where the last step began, then u and v of each update: (w, difference, …, u, v, u, v, …).

        With a line search, the length of the step, (M, 1), and how often it was shortened, (M, 1), stand in between.
        """
        head, kept = state[: self._head], state[self._head :]
        updates: State = ()
        if state:
            updates = (*kept, *_update(kept, now.w - head[0], now.difference - head[1]))[-2 * self.memory :]
        full = now.w - _inverse_times(updates, now.difference)
        if not self.backtracks:
            return full, (now.w, now.difference, *updates)
        ones = torch.ones_like(now.difference[:, :1])
        if not state:
            return full, (now.w, now.difference, ones, torch.zeros_like(ones))
        return self._searched(now, full, head, kept, updates)

    def inverse(self, state: State) -> Tensor:
        """−H; the identity, as that of J = 0, before there is any update."""
        w, updates = state[0], state[self._head :]
        identity = torch.eye(w.shape[1], dtype=w.dtype, device=w.device).expand(len(w), -1, -1)
        if not updates:
            return identity
        first, second = torch.stack(updates[0::2], dim=2), torch.stack(updates[1::2], dim=1)
        return identity - first @ second

    @property
    def _head(self) -> int:
        """How many tensors of the state are no updates."""
        return 4 if self.backtracks else 2

    def _searched(
        self, now: Evaluation, full: Tensor, head: State, kept: State, updates: State
    ) -> tuple[Tensor, State]:
        """A full step for the samples whose last one is accepted, for the others a shorter one from where it began."""
        w, difference, length, shortened = head
        before = torch.linalg.vector_norm(difference.detach(), dim=1, keepdim=True) + torch.finfo(w.dtype).tiny
        ratio = torch.linalg.vector_norm(now.difference.detach(), dim=1, keepdim=True) / before
        allowed = 1 - _DECREASE * length + 1 / (now.iteration + 1) ** 2
        accepted = (ratio <= allowed) | (shortened >= self.backtracks)
        # ‖g‖² along the step: 1 at 0, with slope −2 there if H were exact, and ratio² at the length.
        least = length.square() / (ratio.square() - 1 + 2 * length)
        shorter = torch.minimum(torch.maximum(least, length / 10), length / 2)
        trial = w + (now.w - w) * (shorter / length)
        ones, zeros = torch.ones_like(length), torch.zeros_like(length)
        # A sample whose step is tried again keeps its H; all have equally many updates, so its oldest does nothing.
        padded = (torch.zeros_like(w), torch.zeros_like(w), *kept)[-2 * self.memory :]
        return torch.where(accepted, full, trial), (
            torch.where(accepted, now.w, w),
            torch.where(accepted, now.difference, difference),
            torch.where(accepted, ones, shorter),
            torch.where(accepted, zeros, shortened + 1),
            *(torch.where(accepted, new, old) for new, old in zip(updates, padded, strict=True)),
        )


def _update(updates: State, delta_w: Tensor, delta_g: Tensor) -> tuple[Tensor, Tensor]:
    """u, v of the rank-one update that makes H Δg = Δw."""
    mapped = _inverse_times(updates, delta_g)
    left = _inverse_times(updates, delta_w, transposed=True)
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
