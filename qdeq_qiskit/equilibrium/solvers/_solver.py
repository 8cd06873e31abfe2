"""What a solver is: a rule for the next iterate; everything else of a solve is in the driver."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

State = tuple[Tensor, ...]
"""What a solver remembers between iterations: tensors that all have a leading sample axis."""


class Evaluation(NamedTuple):
    """The map evaluated at the current iterate of every sample still sought; M of them.

    Attributes:
        iteration: how many steps were taken in this attempt.
        attempt: 0 for the first attempt, 1 for the first restart of the stragglers.
        w: the iterate, (M, n).
        difference: f(w) − w, (M, n).
        relative_residual: ‖f(w) − w‖₂ / ‖f(w)‖₂, (M,).
        jacobian: ∂f/∂w, (M, n, n), where the solver wants it; see `Solver.stalled` for NaN in it.
    """

    iteration: int
    attempt: int
    w: Tensor
    difference: Tensor
    relative_residual: Tensor
    jacobian: Tensor | None


class Solver(ABC):
    """How to get from one iterate to the next; concrete solvers are frozen dataclasses.

    A solver neither evaluates the map, nor decides when to stop, nor knows how it will be differentiated. It
    works on each sample by itself, out of place, so that the driver may drop samples and autograd may record.

    Attributes:
        kind: the name in recipes.
        uses_jacobian: whether `Evaluation.jacobian` is wanted at every iteration, after the first `picard_steps` of the
            first attempt.
        asks_for_jacobian: whether it is wanted now and then, as `stalled` says.
        estimates_inverse: whether `inverse` gives anything.
        tolerance: a sample has converged when ‖f(w) − w‖₂ ≤ tolerance · ‖f(w)‖₂.
        max_iterations: most steps of one attempt; the map is evaluated once more than that.
    """

    kind: ClassVar[str]
    uses_jacobian: ClassVar[bool]
    asks_for_jacobian: ClassVar[bool] = False
    estimates_inverse: ClassVar[bool] = False
    tolerance: float
    max_iterations: int

    @abstractmethod
    def step(self, now: Evaluation, state: State) -> tuple[Tensor, State]:
        """The next iterate, (M, n), and what to remember; `state` is empty at iteration 0 of each attempt."""

    @property
    def goal(self) -> str:
        """What a converged sample has reached, in words."""
        return f"a relative residual of {self.tolerance:g}"

    @property
    def picard_steps(self) -> int:
        """How many of the first attempt's first steps are w ← f(w), for which no Jacobian is evaluated."""
        return 0

    def wants_jacobian(self, attempt: int, iteration: int) -> bool:
        """Whether `Evaluation.jacobian` is wanted at this iteration."""
        return self.uses_jacobian and (attempt > 0 or iteration >= self.picard_steps)

    @property
    def attempts(self) -> int:
        """How many times samples may be tried; each further attempt takes the stragglers of the one before."""
        return 1

    def stalled(self, now: Evaluation, state: State) -> Tensor:
        """Samples, (M,) bool, that need ∂f/∂w at `now` for their next step; only if `asks_for_jacobian`.

        The driver evaluates it for them, f(w) being known, and gives it to `step`; the other samples' is NaN there.
        """
        return torch.zeros_like(now.relative_residual, dtype=torch.bool)

    def inverse(self, state: State) -> Tensor | None:
        """(I − ∂f/∂w)⁻¹, (M, n, n), as the steps so far let one estimate it."""
        return None

    def finish(self, state: State) -> Tensor | None:
        """The answer, (M, n), for samples whose iterations ran out, where it is not simply the best iterate."""
        return None
