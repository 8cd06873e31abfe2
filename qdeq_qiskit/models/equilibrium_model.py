"""What the models here have in common: an equilibrium, and a head that reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.equilibrium import Equilibrium, Solution
from qdeq_qiskit.models.confidence import class_confidence
from qdeq_qiskit.models.output import ClassifierOutput


class EquilibriumModel(nn.Module, ABC):
    """Inputs → features → equilibrium z* → logits."""

    equilibrium: Equilibrium

    @abstractmethod
    def features(self, inputs: Tensor) -> Tensor:
        """Inputs, (B, ...), as `classify` takes them: what is done once, before training."""

    @abstractmethod
    def _read(self, state: Tensor) -> Tensor:
        """Logits, (B, classes), of states z* = R w*, (B, d)."""

    @abstractmethod
    def _learned(self) -> dict[str, Tensor]:
        """What is learned, by name: the model's own tensors."""

    def _embedded(self, features: Tensor) -> Tensor:
        """Features as the equilibrium takes them; what turns them into that is trained with the rest."""
        return features

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, (B, classes), of inputs, (B, ...)."""
        return self.solve(inputs).logits

    def solve(self, inputs: Tensor) -> ClassifierOutput:
        """Logits of inputs, (B, ...), with the equilibrium that they were read from."""
        return self.classify(self.features(inputs))

    def classify(self, features: Tensor) -> ClassifierOutput:
        """Logits of what `features` gave, with the equilibrium that they were read from."""
        solution = self.equilibrium(self._embedded(features))
        logits = self._read(solution.state)
        return ClassifierOutput(logits, solution, self._confidence(solution, logits))

    def restart_shots(self, stream: int) -> None:
        """Whatever was drawn before, shots from here on are those of the layer's seed and `stream`, at least 0."""
        if isinstance(self.equilibrium.layer, SampledLayer):  # exact layers draw none
            self.equilibrium.layer.restart(stream)

    def tensors(self) -> dict[str, Tensor]:
        """What is learned, by name: copies on the CPU."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self._learned().items()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take over what was learned.

        Raises:
            ValueError: a tensor is missing or superfluous, has another shape, or holds a NaN.
        """
        own = self._learned()
        if set(tensors) != set(own):
            raise ValueError(f"the weights are named {sorted(tensors)}; expected {sorted(own)}")
        for name, tensor in tensors.items():
            if tensor.shape != own[name].shape:
                raise ValueError(
                    f"{name} has shape {tuple(tensor.shape)}, but this model's is {tuple(own[name].shape)}"
                )
            if not torch.isfinite(tensor).all():
                raise ValueError(f"{name} holds values that are NaN or infinite")
        with torch.no_grad():
            for name, tensor in tensors.items():
                own[name].copy_(tensor)

    def _confidence(self, solution: Solution, logits: Tensor) -> Tensor | None:
        """As in `ClassifierOutput`; in training the head may be random, and nobody asks."""
        if self.training or solution.covariance is None or logits.ndim != 2:
            return None
        lift = self.equilibrium.lift

        def logits_of(w: Tensor) -> Tensor:
            return self._read(w if lift is None else w @ lift.mT)

        with torch.no_grad():
            return class_confidence(solution.value, solution.covariance, logits.argmax(dim=1), logits_of)
