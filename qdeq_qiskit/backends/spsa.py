"""Gradients from two circuits, however many weights there are."""

from __future__ import annotations

from typing import Literal, final

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


@final
class SPSA(BaseModel):
    """Simultaneous perturbation: all weights are shifted at once, each by ±c, chosen at random.

    With signs Δ the gradient of L is estimated as [L(θ + c Δ) − L(θ − c Δ)] / 2c · Δ. Its mean differs from the
    gradient by O(c²), its variance grows with the number of weights and, with shots, as 1/c². Every sample of a batch
    has signs of its own, so that a batch averages over them.

    Spall, IEEE Trans. Automat. Contr. 37 (1992) 332.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["spsa"] = "spsa"
    perturbation: float = Field(
        default=0.1, gt=0, allow_inf_nan=False, description="c, by how much each weight is shifted, in radians."
    )
    repetitions: int = Field(
        default=1, ge=1, le=1_000_000, description="How many choices of signs are averaged for each sample."
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="Seed of the signs.")

    def signs(self, samples: int, weights: int, generator: torch.Generator) -> Tensor:
        """Δ for each sample and repetition, (B, r, P), entries ±1, double precision."""
        drawn = torch.randint(2, (samples, self.repetitions, weights), generator=generator)
        return drawn.double() * 2 - 1


WeightGradient = Literal["parameter_shift", "spsa"] | SPSA
"""How gradients of weights are measured: by the exact rule for every gate, or by SPSA, with options of its own."""


def chosen(weight_gradient: WeightGradient) -> SPSA | None:
    """The options of SPSA; None for the exact rule.

    Raises:
        ValueError: a name that is neither.
    """
    if isinstance(weight_gradient, SPSA):
        return weight_gradient
    if weight_gradient == "parameter_shift":
        return None
    if weight_gradient == "spsa":
        return SPSA()
    raise ValueError(f"weight_gradient is {weight_gradient!r}; expected 'parameter_shift', 'spsa', or SPSA(...)")
