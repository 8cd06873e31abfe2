"""From features to logits: the equilibrium, and the head that reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.equilibrium import Equilibrium, Solution
from qdeq_qiskit.models.confidence import class_confidence


@dataclass(frozen=True)
class ClassifierOutput:
    """Logits and the equilibrium that they were read from.

    Attributes:
        logits: (B, classes); of a head that gives something else, that.
        solution: residuals, iterations and costs of each sample.
        confidence: the probability that the predicted class is that of the exact equilibrium, (B,), given the
            covariance with which this one was estimated; NaN for samples without an estimate, None where the solver
            estimates no covariance, and in training.
    """

    logits: Tensor
    solution: Solution
    confidence: Tensor | None = None

    @property
    def labels(self) -> Tensor:
        """The predicted class of each sample, (B,)."""
        return self.logits.argmax(dim=1)


def read_equilibrium(
    equilibrium: Equilibrium, read: Callable[[Tensor], Tensor], features: Tensor, *, training: bool
) -> ClassifierOutput:
    """Logits of features, with the equilibrium that they were read from.

    Args:
        equilibrium: of the features.
        read: from states z* = R w*, (B, d), to logits.
        features: (B, d), or whatever the equilibrium takes.
        training: whether `read` may be random, and nobody asks for the confidence.
    """
    solution = equilibrium(features)
    logits = read(solution.state)
    if training or solution.covariance is None or logits.ndim != 2:
        return ClassifierOutput(logits, solution)
    lift = equilibrium.lift

    def logits_of(w: Tensor) -> Tensor:
        return read(w if lift is None else w @ lift.mT)

    with torch.no_grad():
        confidence = class_confidence(solution.value, solution.covariance, logits.argmax(dim=1), logits_of)
    return ClassifierOutput(logits, solution, confidence)


def restart_shots(layer: Any, stream: int) -> None:
    """Let a layer's shots be those of its seed and `stream`, at least 0, from here on; exact layers draw none."""
    if isinstance(layer, SampledLayer):
        layer.restart(stream)
