"""The weight of the Jacobian penalty over the epochs."""

from __future__ import annotations

import math
from typing import Annotated, Literal, final

from pydantic import BaseModel, ConfigDict, Field

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@final
class PenaltySchedule(BaseModel):
    """A factor of the penalty's weight that goes from `start` to `end` over the first epochs, and stays there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["linear", "cosine", "step"] = Field(
        default="linear", description="linear; cosine: slowly at both ends; step: all at once, after `epochs`."
    )
    start: NotNegative = Field(default=0.0, description="Factor of the weight in the first epoch.")
    end: NotNegative = Field(default=1.0, description="Factor of the weight from epoch `epochs` + 1 on.")
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        description="Epochs from the one to the other.", examples=[20]
    )

    def factor(self, epoch: int) -> float:
        """What the weight is multiplied by in an epoch, counted from 0."""
        done = min(epoch / self.epochs, 1.0)
        share = {"linear": done, "cosine": (1 - math.cos(math.pi * done)) / 2, "step": math.floor(done)}[self.kind]
        return self.start + (self.end - self.start) * share
