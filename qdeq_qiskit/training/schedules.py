"""Schedules of the learning rate as recipes name them: torch's own, with torch's names for their options."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING, Annotated, Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field
from torch.optim import Optimizer
from torch.optim import lr_scheduler as torchs

Count = Annotated[int, Field(ge=1, le=10**9)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Factor = Annotated[float, Field(gt=0, le=1)]

WATCHED = "valid_loss"


@final
class Warmup(BaseModel):
    """A rate that rises linearly to the full one (`torch.optim.lr_scheduler.LinearLR`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    total_iters: Count = Field(description="Intervals until the full rate is reached.", examples=[5])
    start_factor: Factor = Field(default=0.1, description="Share of the full rate to begin with.")


class Schedule(BaseModel, ABC):
    """How the learning rate changes; `optimisation.learning_rate` is the full one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    interval: Literal["epoch", "step"] = Field(
        default="epoch", description="What lengths are counted in: epochs, or steps of the optimiser."
    )
    warmup: Warmup | None = Field(default=None, description="What comes before the schedule; null for nothing.")


@final
class ConstantSchedule(Schedule):
    """The same rate always, after the warm-up."""

    kind: Literal["constant"] = "constant"


@final
class CosineSchedule(Schedule):
    """Half a cosine from the full rate down to `eta_min` (`torch.optim.lr_scheduler.CosineAnnealingLR`)."""

    kind: Literal["cosine"] = "cosine"
    T_max: Count | None = Field(
        default=None, description="Intervals until `eta_min`, then it rises again; null for all that the run has left."
    )
    eta_min: NotNegative = Field(default=0.0, description="The least rate.")


@final
class StepSchedule(Schedule):
    """A rate multiplied by `gamma` every so often (`torch.optim.lr_scheduler.StepLR`)."""

    kind: Literal["step"] = "step"
    step_size: Count = Field(description="Intervals between two changes.", examples=[30])
    gamma: Factor = Field(default=0.1, description="What the rate is multiplied by.")


@final
class ExponentialSchedule(Schedule):
    """A rate multiplied by `gamma` after every interval (`torch.optim.lr_scheduler.ExponentialLR`)."""

    kind: Literal["exponential"] = "exponential"
    gamma: Factor = Field(description="What the rate is multiplied by.", examples=[0.95])


@final
class PlateauSchedule(Schedule):
    """A rate multiplied by `factor` when the validation loss falls no more (`…lr_scheduler.ReduceLROnPlateau`).

    The loss is looked at after every epoch, those of the warm-up included; `interval` is of the warm-up alone.
    """

    kind: Literal["plateau"] = "plateau"
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(default=0.1, description="What the rate is multiplied by.")
    patience: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=10, description="Epochs without a better loss that are put up with."
    )
    threshold: NotNegative = Field(default=1e-4, description="By how much a loss has to be less, to be better.")
    threshold_mode: Literal["rel", "abs"] = Field(
        default="rel", description="Whether that is a share of the best loss or a difference."
    )
    cooldown: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        default=0, description="Epochs after a change during which none is counted."
    )
    min_lr: NotNegative = Field(default=0.0, description="The least rate.")


if TYPE_CHECKING:
    AnySchedule = Schedule
else:
    AnySchedule = Annotated[
        ConstantSchedule | CosineSchedule | StepSchedule | ExponentialSchedule | PlateauSchedule,
        Field(discriminator="kind"),
    ]


def schedulers(schedule: Schedule, optimiser: Optimizer, *, epochs: int, steps_per_epoch: int) -> list[dict[str, Any]]:
    """Torch's schedulers of an optimiser, each with when it is to be stepped, in the form that Lightning takes.

    Args:
        schedule: what the recipe says.
        optimiser: at the full rate.
        epochs: of the run.
        steps_per_epoch: steps of the optimiser in one of them.
    """
    if isinstance(schedule, PlateauSchedule):
        options = schedule.model_dump(exclude={"kind", "interval", "warmup"})
        # Lightning steps what watches a loss after the epoch's checkpoint is written, so that a resumed run would lack
        # that step; but what is stepped with the last batch of each epoch comes after validation and before it.
        plateau = {
            "scheduler": torchs.ReduceLROnPlateau(optimiser, **options),
            "monitor": WATCHED,
            "interval": "step",
            "frequency": steps_per_epoch,
        }
        return [*_stepped(_warmup(schedule.warmup, optimiser), schedule.interval), plateau]
    length = epochs * (steps_per_epoch if schedule.interval == "step" else 1)
    before = _warmup(schedule.warmup, optimiser)
    if schedule.warmup is None or before is None:
        return _stepped(_main(schedule, optimiser, length), schedule.interval)
    after = _main(schedule, optimiser, max(1, length - schedule.warmup.total_iters))
    if after is None:
        return _stepped(before, schedule.interval)
    whole = torchs.SequentialLR(optimiser, [before, after], milestones=[schedule.warmup.total_iters])
    return _stepped(whole, schedule.interval)


def _warmup(warmup: Warmup | None, optimiser: Optimizer) -> torchs.LRScheduler | None:
    if warmup is None:
        return None
    return torchs.LinearLR(optimiser, start_factor=warmup.start_factor, total_iters=warmup.total_iters)


def _main(schedule: Schedule, optimiser: Optimizer, length: int) -> torchs.LRScheduler | None:
    if isinstance(schedule, CosineSchedule):
        return torchs.CosineAnnealingLR(optimiser, T_max=schedule.T_max or length, eta_min=schedule.eta_min)
    if isinstance(schedule, StepSchedule):
        return torchs.StepLR(optimiser, step_size=schedule.step_size, gamma=schedule.gamma)
    if isinstance(schedule, ExponentialSchedule):
        return torchs.ExponentialLR(optimiser, gamma=schedule.gamma)
    return None


def _stepped(scheduler: torchs.LRScheduler | None, interval: str) -> list[dict[str, Any]]:
    return [] if scheduler is None else [{"scheduler": scheduler, "interval": interval}]
