"""The case of a peer whose circuit is a torch module: autograd and the library's equilibrium do the rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .peer import Operation
from .points import Points
from .solving import Solving, by_equilibrium
from .training import TrainingStep

_TIGHT = {torch.float32: 2e-6, torch.float64: 1e-13}
_LOOSE = 1e-4
_APART = 1e-4


@dataclass(frozen=True)
class CircuitLayer:
    """A circuit as a torch module.

    Attributes:
        module: features (B, d) to expectation values (B, n); its only parameter is θ, (P,).
        weight: that parameter.
        jacobian: ∂⟨Z_k⟩/∂v, (B, n, d), of features where the library has a better way than one backward pass for each
            observable; None if not.
    """

    module: nn.Module
    weight: nn.Parameter
    jacobian: Callable[[Tensor], Tensor] | None = None


class LayerCase:
    """See `peer.Case`.

    Args:
        layer: makes the circuit's layer, anew for each use.
        points: in the peer's precision.
        penalised: whether the training step has the Jacobian penalty.
        solving: by whose solver the step is made.
        at_once: see `TrainingStep`.
    """

    def __init__(
        self,
        layer: Callable[[], CircuitLayer],
        points: Points,
        *,
        penalised: bool,
        solving: Solving = by_equilibrium,
        at_once: int | None = None,
    ) -> None:
        self._make, self._points, self._penalised, self._solving = layer, points, penalised, solving
        self._at_once = at_once
        self._layer = layer()
        self._step: TrainingStep | None = None
        self._turn = 0

    def value(self, operation: Operation) -> Tensor:
        if operation == "step":
            tight = self._training_step(_TIGHT[self._points.features.dtype])
            return tight.gradients(self._points.features[0], self._points.labels[0], self._points.weights[0])
        return self._evaluate(operation, self._points.features[0], self._points.weights[0]).detach()

    def seconds(self, operation: Operation) -> float:
        self._turn += 1
        point = self._turn % 2
        if operation == "step" and self._step is None:
            self._step = self._training_step(_LOOSE)
        features, labels = self._points.features[point], self._points.labels[point]
        weights = self._points.weights[point] + _APART * self._turn  # new ones each time: none are known from before
        start = time.perf_counter()
        if operation == "step":
            assert self._step is not None
            self._step(features, labels, weights)
        else:
            self._evaluate(operation, features, weights)
        return time.perf_counter() - start

    def close(self) -> None:
        """Nothing to be done."""

    def _evaluate(self, operation: Operation, features: Tensor, weights: Tensor) -> Tensor:
        with torch.no_grad():
            self._layer.weight.copy_(weights)
        if operation == "forward":
            with torch.no_grad():
                return self._layer.module(features)
        return (self._layer.jacobian or self._by_autograd)(features)

    def _by_autograd(self, features: Tensor) -> Tensor:
        """One backward pass for each observable, over the whole batch, whose samples do not touch each other."""
        self._layer.weight.requires_grad_(False)
        features = features.detach().requires_grad_()
        outputs = self._layer.module(features)
        rows = [
            torch.autograd.grad(outputs[:, k].sum(), features, retain_graph=True)[0] for k in range(outputs.shape[1])
        ]
        self._layer.weight.requires_grad_(True)
        return torch.stack(rows, dim=1)

    def _training_step(self, tolerance: float) -> TrainingStep:
        made = self._make()
        return TrainingStep(
            made.module,
            made.weight,
            num_features=self._points.features.shape[2],
            dtype=self._points.features.dtype,
            tolerance=tolerance,
            penalised=self._penalised,
            solving=self._solving,
            at_once=self._at_once,
        )
