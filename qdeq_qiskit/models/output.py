"""What a model answers."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from qdeq_qiskit.equilibrium import Solution


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
