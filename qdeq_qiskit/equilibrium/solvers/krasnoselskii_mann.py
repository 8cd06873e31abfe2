"""Damped iteration, and averaging where f is sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._options import check_count, check_number
from ._solver import Evaluation, Solver, State


@dataclass(frozen=True, kw_only=True)
class KrasnoselskiiMann(Solver):
    """w ← w + τ_k (f(w) − w) with τ_k = damping / (k + 1)^decay.

    Converges for every non-expansive f (a rotation, where plain iteration circles) and for real eigenvalues of J
    down to 1 − 2/τ. Where f is a mean over shots, a constant τ ends in noise; the average over the last iterates
    (Polyak and Ruppert) or a decreasing τ removes it.

    Krasnosel'skiĭ, Uspekhi Mat. Nauk 10 (1955) 123; Mann, Proc. AMS 4 (1953) 506; Polyak, Juditsky, SIAM J. Control
    Optim. 30 (1992) 838.

    Attributes:
        tolerance: on the relative residual.
        max_iterations: most steps.
        damping: τ, in (0, 1].
        decay: how fast the steps decrease, in [0, 1]; 0: they do not.
        average: if the iterations run out, answer with the mean of the last iterates, at one further evaluation.
        tail: the fraction of the iterates, the last ones, that the mean is over, in (0, 1].
    """

    kind: ClassVar[str] = "krasnoselskii_mann"
    uses_jacobian: ClassVar[bool] = False

    tolerance: float = 1e-4
    max_iterations: int = 100
    damping: float = 0.5
    decay: float = 0.0
    average: bool = False
    tail: float = 0.5

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, least=0)
        check_count("max_iterations", self.max_iterations, least=1)
        check_number("damping", self.damping, above=0, most=1)
        check_number("decay", self.decay, least=0, most=1)
        check_number("tail", self.tail, above=0, most=1)
        if not isinstance(self.average, bool):
            raise ValueError(f"average must be True or False; it is {self.average!r}.")

    def step(self, now: Evaluation, state: State) -> tuple[Tensor, State]:
        w = now.w + (self.damping / (now.iteration + 1) ** self.decay) * now.difference
        if not self.average:
            return w, ()
        total = state[0] if state else torch.zeros_like(w)
        return w, (total + w if now.iteration >= self._first_of_tail() else total,)

    def finish(self, state: State) -> Tensor | None:
        if not self.average:
            return None
        return state[0] / (self.max_iterations - self._first_of_tail())

    def _first_of_tail(self) -> int:
        """The step whose result is the first in the mean."""
        return min(round(self.max_iterations * (1 - self.tail)), self.max_iterations - 1)
