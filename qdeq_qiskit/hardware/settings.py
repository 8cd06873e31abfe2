"""What a solve depends on, as the ledger pins it."""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import BaseModel, ConfigDict, Field

from qdeq_qiskit.backends.kinds.ibm import IBMBackend

MethodName = Literal["circuits", "surrogate", "tune"]
GradientName = Literal["parameter_shift", "spsa"]


@final
class Tuning(BaseModel):
    """How a model is trained further on a processor."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: Annotated[int, Field(ge=1)] = Field(default=5, description="Optimiser steps, each on all training images.")
    gradient: GradientName = Field(
        default="parameter_shift", description="How gradients of the circuit's weights are measured."
    )
    learning_rate: Annotated[float, Field(gt=0)] = Field(default=0.02, description="Of Adam.")
    test_samples: Annotated[int, Field(ge=1)] = Field(description="Test images, before and after.")
    train_digest: str = Field(description="SHA-256 of the training images that are used.")


@final
class SolveSettings(BaseModel):
    """Everything that decides what a solve asks a processor for, but the processor's calibration."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    method: MethodName = Field(description="circuits, surrogate or tune.")
    backend: IBMBackend = Field(description="The backend recipe, with the name that least_busy stood for.")
    samples: Annotated[int, Field(ge=1)] = Field(description="Images that were asked for.")
    test_digest: str = Field(description="SHA-256 of the test images that are used.")
    model_digest: str = Field(description="SHA-256 of the model's files.")
    max_qpu_seconds: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="The budget, in seconds of the processor; null for none."
    )
    design: str | None = Field(default=None, description="Of the surrogate's probes.")
    tuning: Tuning | None = Field(default=None, description="Of method tune.")
