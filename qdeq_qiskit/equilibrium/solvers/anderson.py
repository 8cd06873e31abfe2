"""Anderson acceleration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .._options import check_count, check_number
from ._solver import Evaluation, Solver, State


@dataclass(frozen=True, kw_only=True)
class Anderson(Solver):
    """The combination of the last iterates whose residual is least, then one (damped) step from it.

    With g = f(w) − w and the differences ΔW, ΔG of the last m + 1 iterates: γ minimises ‖g − ΔG γ‖² and
    w ← w + τ g − (ΔW + τ ΔG) γ. The normal equations are scaled to a unit diagonal before a ridge is added, so that
    the ridge does not limit the tolerance that can be reached, however small the differences get.

    Anderson, J. ACM 12 (1965) 547; Walker, Ni, SIAM J. Numer. Anal. 49 (2011) 1715.

    Attributes:
        tolerance: on the relative residual.
        max_iterations: most steps.
        memory: m, how many differences are kept.
        damping: τ, in (0, 1].
        ridge: relative to the scaled Gram matrix, whose diagonal is 1; at least 10 times the machine epsilon is used.
    """

    kind: ClassVar[str] = "anderson"
    uses_jacobian: ClassVar[bool] = False

    tolerance: float = 1e-4
    max_iterations: int = 50
    memory: int = 5
    damping: float = 1.0
    ridge: float = 0.0

    def __post_init__(self) -> None:
        check_number("tolerance", self.tolerance, least=0)
        check_count("max_iterations", self.max_iterations, least=1)
        check_count("memory", self.memory, least=1)
        check_number("damping", self.damping, above=0, most=1)
        check_number("ridge", self.ridge, least=0)

    def step(self, now: Evaluation, state: State) -> tuple[Tensor, State]:
        """The state holds w and f(w) − w of the last iterates: (w, difference, w, difference, ...)."""
        history = (*state, now.w, now.difference)[-2 * (self.memory + 1) :]
        plain = now.w + self.damping * now.difference
        if len(history) == 2:
            return plain, history
        delta_w = torch.stack(history[0::2], dim=2).diff(dim=2)
        delta_g = torch.stack(history[1::2], dim=2).diff(dim=2)
        size = torch.linalg.vector_norm(delta_g, dim=1) + torch.finfo(plain.dtype).tiny ** 0.5
        scaled = delta_g / size.unsqueeze(1)
        gram = scaled.mT @ scaled
        identity = torch.eye(size.shape[1], dtype=plain.dtype, device=plain.device)
        ridge = max(self.ridge, 10 * torch.finfo(plain.dtype).eps)
        projected = (scaled.mT @ now.difference.unsqueeze(2)).squeeze(2)
        gamma = torch.linalg.solve_ex(gram + ridge * identity, projected)[0] / size
        return plain - ((delta_w + self.damping * delta_g) @ gamma.unsqueeze(2)).squeeze(2), history
