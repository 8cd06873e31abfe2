"""The training step that every peer's circuit goes through: all the same but for the circuit's evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeq_qiskit.equilibrium import nearest_lift

from .points import CLASSES
from .solving import Solving, by_equilibrium

PENALTY_WEIGHT, CLIP, LEARNING_RATE = 0.8, 0.25, 5e-3


class TrainingStep:
    """Solve, implicit gradient, Jacobian penalty, clip, Adam.

    Args:
        layer: the circuit, (B, d) to (B, n).
        weight: its parameter θ, (P,).
        num_features: d.
        dtype: of features and weights.
        tolerance: on the relative residual of each sample.
        penalised: whether the loss has the reduced Jacobian penalty.
        solving: by whose solver.
        at_once: the most samples whose graph is held; a larger batch is gone through in parts, whose gradients add up
            to the same. None for all.
    """

    def __init__(
        self,
        layer: nn.Module,
        weight: nn.Parameter,
        *,
        num_features: int,
        dtype: torch.dtype,
        tolerance: float,
        penalised: bool,
        solving: Solving = by_equilibrium,
        at_once: int | None = None,
    ) -> None:
        self._at_once = at_once
        with torch.no_grad():
            num_qubits = layer(torch.ones(1, num_features, dtype=dtype)).shape[1]
        lift = nearest_lift(num_features, num_qubits, dtype=dtype)
        self.solve = solving(layer, lift, tolerance=tolerance, penalised=penalised)
        generator = torch.Generator().manual_seed(3)
        self.head = nn.Linear(num_features, CLASSES, dtype=dtype)
        with torch.no_grad():
            for parameter in self.head.parameters():
                start = torch.empty(parameter.shape, dtype=torch.float64).uniform_(-0.25, 0.25, generator=generator)
                parameter.copy_(start)
        self.weight = weight
        self.parameters = [weight, *self.head.parameters()]
        self.optimiser = torch.optim.Adam(self.parameters, lr=LEARNING_RATE, fused=True)

    def __call__(self, features: Tensor, labels: Tensor, weights: Tensor) -> None:
        """One step from these weights: wherever training has got to, every call does the same work."""
        self._differentiate(features, labels, weights)
        self._clip()
        self.optimiser.step()

    def gradients(self, features: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
        """The gradients before clipping, flat: of θ, then of the head."""
        self._differentiate(features, labels, weights)
        return torch.cat([parameter.grad.flatten() for parameter in self.parameters if parameter.grad is not None])

    def _differentiate(self, features: Tensor, labels: Tensor, weights: Tensor) -> None:
        with torch.no_grad():
            self.weight.copy_(weights)
        self.optimiser.zero_grad(set_to_none=True)
        samples = self._at_once or len(labels)
        for part, part_labels in zip(features.split(samples), labels.split(samples), strict=True):
            self._accumulate(part, part_labels, len(part) / len(features))

    def _accumulate(self, features: Tensor, labels: Tensor, share: float) -> None:
        """Adds the gradients of some of the samples, whose graph is gone afterwards."""
        state, penalty = self.solve(features)
        loss = torch.nn.functional.cross_entropy(self.head(torch.relu(state)), labels)
        if penalty is not None:
            loss = loss + PENALTY_WEIGHT * penalty
        if share < 1:
            loss = loss * share
        loss.backward()

    def _clip(self) -> None:
        gradients = [parameter.grad for parameter in self.parameters if parameter.grad is not None]
        norm = torch.linalg.vector_norm(torch.cat([gradient.flatten() for gradient in gradients]))
        scale = (CLIP / (norm + 1e-6)).clamp(max=1)
        for gradient in gradients:
            gradient.mul_(scale)
