"""Where the circuits are evaluated: two sets of features, weights and labels, taken in turns.

Two, and the weights a little further on with each turn, because libraries keep what they have computed last: at the
same point again they would be timed for looking it up.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .problem import Problem

CLASSES = 4


@dataclass(frozen=True, eq=False)
class Points:
    """Two points; the first axis of each tensor says which.

    Attributes:
        features: (2, B, d).
        weights: θ, (2, P).
        labels: (2, B), integers.
    """

    features: Tensor
    weights: Tensor
    labels: Tensor

    @property
    def batch(self) -> int:
        """B."""
        return self.features.shape[1]

    def first(self, samples: int) -> Points:
        """The same with the first few samples only."""
        return Points(self.features[:, :samples].contiguous(), self.weights, self.labels[:, :samples].contiguous())

    def to(self, dtype: torch.dtype) -> Points:
        """The same in another precision."""
        return Points(self.features.to(dtype), self.weights.to(dtype), self.labels)


def points_for(problem: Problem, batch: int) -> Points:
    """Features from the normal distribution and weights uniform in (-π, π), in double precision, always the same."""
    generator = torch.Generator().manual_seed(7)
    features = torch.randn(2, batch, problem.num_features, generator=generator, dtype=torch.float64)
    weights = torch.empty(2, problem.num_weights, dtype=torch.float64).uniform_(
        -torch.pi, torch.pi, generator=generator
    )
    labels = torch.randint(CLASSES, (2, batch), generator=generator)
    return Points(features, weights, labels)
