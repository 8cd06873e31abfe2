"""Newton's method with the exact Jacobian of each sample, globalised by pseudo-transient continuation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._options import check_count, check_number
from ._solver import Evaluation, Solver, State


@dataclass(frozen=True, kw_only=True)
class Newton(Solver):
    """Newton's method on g(w) = f(w) − w, made robust far from the root.

    Each step solves (I (1 + 1/δ) − J) Δ = f(w) − w, one implicit Euler step of length δ for dw/dt = f(w) − w, with
    δ = δ₀ ‖f(w)‖ / ‖f(w) − w‖ (switched evolution relaxation): short steps where the residual is large, Newton's own
    quadratic convergence where it is small. The first attempt starts at f(w₀), which costs no Jacobian; samples that
    do not converge are restarted at w₀ with the next δ₀.

    Kelley, Keyes: Convergence analysis of pseudo-transient continuation, SIAM J. Numer. Anal. 35 (1998) 508.

    Attributes:
        tolerance: on the relative residual.
        max_iterations: most steps of one attempt.
        pseudo_steps: δ₀ of each attempt; `(math.inf,)` is plain Newton.
        picard_steps: steps w ← f(w) before Newton's own, in the first attempt.
        compiled: run as one compiled loop where numba is installed and the map has one (amplitude-encoded circuits on a
            CPU, exact): the same answers to rounding. Compiling takes 10 s, once; loading 1 s in each process.
    """

    kind: ClassVar[str] = "newton"
    uses_jacobian: ClassVar[bool] = True

    tolerance: float = 1e-4
    max_iterations: int = 20
    pseudo_steps: tuple[float, ...] = (1.0, 0.3, math.inf)
    picard_steps: int = 1
    compiled: bool = False

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, least=0)
        check_count("max_iterations", self.max_iterations, least=1)
        check_count("picard_steps", self.picard_steps, least=0)
        if not isinstance(self.pseudo_steps, Sequence) or not self.pseudo_steps:
            raise ValueError(f"pseudo_steps must be a sequence of at least one δ₀; it is {self.pseudo_steps!r}.")
        object.__setattr__(self, "pseudo_steps", tuple(self.pseudo_steps))
        for delta in self.pseudo_steps:
            check_number("each of pseudo_steps", delta, above=0)
        if not isinstance(self.compiled, bool):
            raise ValueError(f"compiled must be true or false; it is {self.compiled!r}.")

    @property
    def attempts(self) -> int:
        return len(self.pseudo_steps)

    def step(self, now: Evaluation, state: State) -> tuple[Tensor, State]:
        if now.jacobian is None:
            return now.w + now.difference, ()
        system = now.jacobian.neg()
        delta = self.pseudo_steps[now.attempt]
        shift = now.relative_residual if delta == 1 else now.relative_residual / delta
        system.diagonal(dim1=1, dim2=2).add_((1 + shift).unsqueeze(1))
        return now.w + torch.linalg.solve_ex(system, now.difference)[0], ()
