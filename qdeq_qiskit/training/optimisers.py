"""Optimisers as recipes name them: torch's own, with torch's names for their options."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Literal, Self, final

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import Tensor

NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Optimiser(BaseModel, ABC):
    """One of torch's optimisers; the learning rate is `optimisation.learning_rate`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    weight_decay: NotNegative

    @abstractmethod
    def make(self, parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser of some parameters."""


@final
class AdamOptimiser(Optimiser):
    """Adam (`torch.optim.Adam`)."""

    kind: Literal["adam"] = "adam"
    betas: tuple[Share, Share] = Field(
        default=(0.9, 0.999), description="Of the running means of gradients and of their squares."
    )
    eps: Positive = Field(default=1e-8, description="Added to the denominator.")
    weight_decay: NotNegative = Field(default=0.0, description="L2 penalty, added to the gradients.")
    amsgrad: bool = Field(default=False, description="Whether the largest running mean of squares is taken.")

    def make(self, parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=learning_rate, fused=True, **self.model_dump(exclude={"kind"}))


@final
class AdamWOptimiser(Optimiser):
    """Adam with decoupled weight decay (`torch.optim.AdamW`)."""

    kind: Literal["adamw"] = "adamw"
    betas: tuple[Share, Share] = Field(
        default=(0.9, 0.999), description="Of the running means of gradients and of their squares."
    )
    eps: Positive = Field(default=1e-8, description="Added to the denominator.")
    weight_decay: NotNegative = Field(
        default=0.01, description="Share of each weight that a step takes off, times the learning rate."
    )
    amsgrad: bool = Field(default=False, description="Whether the largest running mean of squares is taken.")

    def make(self, parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=learning_rate, fused=True, **self.model_dump(exclude={"kind"}))


@final
class SGDOptimiser(Optimiser):
    """Gradient descent, with or without momentum (`torch.optim.SGD`)."""

    kind: Literal["sgd"] = "sgd"
    momentum: Share = Field(default=0.0, description="Share of the last step that is kept.")
    dampening: Share = Field(default=0.0, description="Share of the gradient that does not enter the momentum.")
    weight_decay: NotNegative = Field(default=0.0, description="L2 penalty, added to the gradients.")
    nesterov: bool = Field(default=False, description="Nesterov's momentum; needs momentum, and no dampening.")

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> Self:
        if self.nesterov and not (self.momentum > 0 and self.dampening == 0):
            raise ValueError(
                f"nesterov needs momentum greater than 0 and dampening 0; they are {self.momentum:g} and "
                f"{self.dampening:g}"
            )
        return self

    def make(self, parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=learning_rate, fused=True, **self.model_dump(exclude={"kind"}))


@final
class RMSpropOptimiser(Optimiser):
    """RMSprop (`torch.optim.RMSprop`)."""

    kind: Literal["rmsprop"] = "rmsprop"
    alpha: Share = Field(default=0.99, description="Of the running mean of squared gradients.")
    eps: Positive = Field(default=1e-8, description="Added to the denominator.")
    weight_decay: NotNegative = Field(default=0.0, description="L2 penalty, added to the gradients.")
    momentum: Share = Field(default=0.0, description="Share of the last step that is kept.")
    centered: bool = Field(default=False, description="Whether the gradient is divided by an estimate of its spread.")

    def make(self, parameters: Iterable[Tensor], learning_rate: float) -> torch.optim.Optimizer:
        return torch.optim.RMSprop(parameters, lr=learning_rate, **self.model_dump(exclude={"kind"}))


if TYPE_CHECKING:
    AnyOptimiser = Optimiser
else:
    AnyOptimiser = Annotated[
        AdamOptimiser | AdamWOptimiser | SGDOptimiser | RMSpropOptimiser, Field(discriminator="kind")
    ]


def check_decay(optimiser: Optimiser, trainable: str) -> None:
    """See that no weights decay that are not to be trained: only gradients are masked, and decay needs none.

    Raises:
        ValueError: they would.
    """
    if trainable != "all" and optimiser.weight_decay > 0:
        raise ValueError(
            f"optimisation.optimiser.weight_decay is {optimiser.weight_decay:g}, which would change the weights that "
            f"model.trainable, {trainable!r}, leaves out; set it to 0, or model.trainable to all"
        )
