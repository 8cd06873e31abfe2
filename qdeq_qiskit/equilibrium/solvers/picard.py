"""Plain fixed-point iteration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._options import check_count, check_number
from ._solver import Evaluation, Solver, State


@dataclass(frozen=True, kw_only=True)
class Picard(Solver):
    """w ← f(w): converges where f is a contraction, one evaluation a step.

    Attributes:
        tolerance: on the relative residual.
        max_iterations: most steps.
    """

    kind: ClassVar[str] = "picard"
    uses_jacobian: ClassVar[bool] = False

    tolerance: float = 1e-4
    max_iterations: int = 100

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, least=0)
        check_count("max_iterations", self.max_iterations, least=1)

    def step(self, now: Evaluation, state: State) -> tuple[Tensor, State]:
        return now.w + now.difference, state
