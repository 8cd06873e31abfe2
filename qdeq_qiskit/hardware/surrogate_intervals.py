"""What the errors of measured operators, which all samples share, do to equilibria, classes and accuracy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.surrogate import MeasuredOperators, solve_replicates
from qdeq_qiskit.equilibrium import nearest_lift
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.data.images import Images


@final
@dataclass(frozen=True, eq=False)
class Bootstrap:
    """Intervals from R draws of the operators; N samples, n state entries.

    They are about the surrogate's target, the ideal encoder before the noisy weight block, and of shot noise alone:
    which images were chosen, and what preparations err beyond their calibration, is not in them.

    Attributes:
        low, high: ends of the intervals of w*, (N, n).
        confidence: share of the draws that give the class that the surrogate predicts, (N,).
        accuracies: of each draw, (R,).
        level: confidence of the intervals.
        unconverged: share of all solves that met no fixed point; their best iterate is used.
    """

    low: np.ndarray = field(repr=False)
    high: np.ndarray = field(repr=False)
    confidence: np.ndarray = field(repr=False)
    accuracies: np.ndarray = field(repr=False)
    level: float
    unconverged: float

    @property
    def half_width(self) -> np.ndarray:
        """Of the interval of w*, the widest entry's, (N,)."""
        widest: np.ndarray = (self.high - self.low).max(axis=1) / 2
        return widest

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Of the accuracy on these samples."""
        low, high = np.quantile(self.accuracies, _tails(self.level))
        return float(low), float(high)

    def figures(self) -> dict[str, Any]:
        """Figures for a result file."""
        return {
            "replicates": len(self.accuracies),
            "level": self.level,
            "median_half_width": float(np.median(self.half_width)),
            "median_confidence": float(np.median(self.confidence)),
            "accuracy_interval": list(self.accuracy_interval),
            "unconverged": self.unconverged,
        }


def bootstrap(
    surrogate: QDEQClassifier,
    measured: MeasuredOperators,
    images: Images,
    *,
    replicates: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> Bootstrap:
    """Draws the preparations' values anew about those that were measured, and solves all samples under each draw.

    The draws are normal, with the measured covariances (a parametric bootstrap; Efron, Tibshirani 1993, section 6.5).
    An interval of w* is centred on the surrogate's own answer: its ends are the quantiles of the draws' distances
    from it, the other way round (section 13.3 there: the shift of a draw is that of the surrogate from the truth).

    Args:
        surrogate: the classifier on a `SurrogateBackend` of the same operators; left in evaluation mode.
        measured: the operators.
        images: N samples.
        replicates: R.
        seed: of the draws.
        level: confidence of the intervals.
    """
    surrogate.eval()
    features = surrogate.features(torch.from_numpy(images.pixels)).double()
    lift = nearest_lift(surrogate.circuit.num_features, surrogate.circuit.num_outputs, dtype=torch.float64)
    options = surrogate.options
    solver = surrogate.equilibrium.current_solver if options.mode == "implicit" else None
    layers = options.layers if options.mode == "direct" else 1
    own, _ = solve_replicates(measured.operators.unsqueeze(0), features, lift, solver=solver, layers=layers)
    draws = measured.replicates(replicates, seed=seed)
    states, converged = solve_replicates(draws, features, lift, solver=solver, layers=layers)
    classes = _classes(surrogate, lift, states)
    predicted = _classes(surrogate, lift, own)
    early, late = torch.quantile(states, torch.tensor(_tails(level), dtype=torch.float64), dim=0)
    return Bootstrap(
        low=(2 * own[0] - late).numpy(),
        high=(2 * own[0] - early).numpy(),
        confidence=(classes == predicted).double().mean(0).numpy(),
        accuracies=(classes == torch.from_numpy(images.labels)).double().mean(1).numpy(),
        level=level,
        unconverged=float((~converged).double().mean()),
    )


def _classes(surrogate: QDEQClassifier, lift: Tensor, states: Tensor) -> Tensor:
    """The classes, (R, N), that the head reads from states, (R, N, n)."""
    with torch.no_grad():
        logits: Tensor = surrogate.head(torch.relu(states @ lift.mT).to(surrogate.head.weight))
    return logits.argmax(dim=-1)


def _tails(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2
