"""What a classifier does on a split: predictions, equilibria, costs; and the classical control beside it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qdeq_qiskit.equilibrium import Solution, spectral_radius
from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.models import ClassifierOutput, QDEQClassifier
from qdeq_qiskit.training.data.images import Images
from qdeq_qiskit.training.errors import RunError

TRACED_SAMPLES = 512
_NEWER = {"half_width", "confidence", "reason"}  # files of earlier versions lack them


@dataclass(frozen=True)
class Evaluation:
    """One split's outcome, sample by sample; N samples, C classes, n state entries, T solver evaluations.

    Attributes:
        labels: the true classes, (N,).
        probabilities: softmax of the logits, (N, C).
        state: the reduced fixed points w*, (N, n).
        residual: relative residuals, (N,); empty in modes that seek no fixed point.
        iterations: solver steps, (N,).
        evaluations: evaluations of f, (N,).
        converged: whether the tolerance was met, (N,); empty in those modes.
        radius: spectral radius of ∂f/∂w at w*, (N,); empty where the Jacobian is not at hand.
        trace: relative residuals of the first samples at each evaluation, (T, M); empty in those modes.
        circuits, shots: what was spent, in total.
        seconds: how long it took.
        half_width: of the 95% confidence interval of w*, the widest entry's, (N,); NaN for a sample without an
            estimate; empty where exact.
        confidence: probability that the predicted class is the one of the true fixed point, (N,); NaN for a sample
            without an estimate; empty where exact.
    """

    labels: np.ndarray
    probabilities: np.ndarray
    state: np.ndarray
    residual: np.ndarray
    iterations: np.ndarray
    evaluations: np.ndarray
    converged: np.ndarray
    radius: np.ndarray
    trace: np.ndarray
    circuits: int
    shots: int
    seconds: float
    half_width: np.ndarray = field(default_factory=lambda: np.zeros(0))
    confidence: np.ndarray = field(default_factory=lambda: np.zeros(0))
    reason: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def predicted(self) -> np.ndarray:
        """The most probable class of each sample, (N,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """The share of samples whose class is predicted."""
        return float((self.predicted == self.labels).mean())

    def metrics(self) -> dict[str, Any]:
        """Figures for a result file."""
        from sklearn.metrics import f1_score, log_loss

        classes = list(range(self.probabilities.shape[1]))
        low, high = wilson_interval(self.accuracy, len(self.labels))
        probabilities = self.probabilities / self.probabilities.sum(axis=1, keepdims=True)
        return {
            "accuracy": self.accuracy,
            "accuracy_interval": [low, high],
            "macro_f1": float(f1_score(self.labels, self.predicted, average="macro", labels=classes, zero_division=0)),
            "log_loss": float(log_loss(self.labels, probabilities, labels=classes)),
            "samples": len(self.labels),
            "median_residual": _median(self.residual),
            "converged_fraction": float(self.converged.mean()) if len(self.converged) else None,
            "mean_iterations": float(self.iterations.mean()),
            "mean_evaluations": float(self.evaluations.mean()),
            "spectral_radius_median": _median(self.radius),
            "median_half_width": _median(self.half_width),
            "median_confidence": _median(self.confidence),
            "circuits": self.circuits,
            "shots": self.shots,
            "seconds": self.seconds,
        }

    def save(self, path: Path) -> None:
        """Write every array into one safetensors file."""
        from safetensors.numpy import save

        arrays = {entry.name: np.ascontiguousarray(getattr(self, entry.name)) for entry in fields(self)}
        write_atomically(path, save(arrays))

    @classmethod
    def load(cls, path: Path) -> Evaluation:
        """Read what `save` wrote.

        Raises:
            RunError: the file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        try:
            arrays: dict[str, Any] = load(path.read_bytes())
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
        except SafetensorError as error:
            raise RunError(f"{path}: is not a whole safetensors file: {error}") from None
        for name in _NEWER & {entry.name for entry in fields(cls)} - set(arrays):
            arrays[name] = np.zeros(0)
        if set(arrays) != {entry.name for entry in fields(cls)}:
            raise RunError(f"{path}: holds {sorted(arrays)}, not an evaluation of this version")
        try:
            for name in ("circuits", "shots", "seconds"):
                arrays[name] = arrays[name].item()
        except ValueError:
            raise RunError(f"{path}: is damaged: {name} is no single number") from None
        return cls(**arrays)


def evaluate(classifier: QDEQClassifier, images: Images, *, chunk: int = 1024) -> Evaluation:
    """Run a classifier on images.

    Args:
        classifier: left in evaluation mode.
        images: what to classify.
        chunk: samples at a time.
    """
    classifier.eval()
    features = classifier.features(torch.from_numpy(images.pixels))
    outputs: list[ClassifierOutput] = []
    started = time.perf_counter()
    with torch.no_grad():
        for part in features.split(chunk):
            classifier.equilibrium.trace = not outputs  # the first chunk's residuals are enough for a picture
            outputs.append(classifier.classify(part))
    seconds = time.perf_counter() - started
    classifier.equilibrium.trace = False
    solutions = [output.solution for output in outputs]
    trace = [residuals[:TRACED_SAMPLES] for residuals in solutions[0].trace or ()]
    logits = torch.cat([output.logits for output in outputs]).double()
    implicit = solutions[0].mode == "implicit"
    return Evaluation(
        labels=images.labels,
        probabilities=_array(torch.softmax(logits, dim=1)),
        state=_array(torch.cat([solution.value for solution in solutions])),
        residual=_array(
            torch.cat([solution.relative_residual for solution in solutions if implicit] or [torch.zeros(0)])
        ),
        converged=_array(
            torch.cat([solution.converged for solution in solutions if implicit] or [torch.zeros(0, dtype=torch.bool)])
        ),
        iterations=_array(torch.cat([solution.iterations for solution in solutions])),
        evaluations=_array(torch.cat([solution.evaluations for solution in solutions])),
        radius=_radius(classifier, features.split(chunk), solutions) if implicit else np.zeros(0),
        trace=_array(torch.stack(trace)) if trace else np.zeros((0, 0)),
        circuits=sum(solution.circuits for solution in solutions),
        shots=sum(solution.shots for solution in solutions),
        seconds=seconds,
        reason=_array(torch.cat([solution.reason for solution in solutions])),
        **_uncertainty(outputs),
    )


def _uncertainty(outputs: list[ClassifierOutput]) -> dict[str, np.ndarray]:
    """Half-widths and confidences, if the solver estimates them."""
    if any(output.solution.covariance is None or output.confidence is None for output in outputs):
        return {}
    widths = []
    for output in outputs:
        low, high = output.solution.interval(0.95)
        widths.append((high - low).amax(dim=1) / 2)
    confidences = [output.confidence for output in outputs if output.confidence is not None]
    return {"half_width": _array(torch.cat(widths)), "confidence": _array(torch.cat(confidences))}


def follow(
    classifier: QDEQClassifier, images: Images, start: np.ndarray, *, chunk: int = 1024
) -> tuple[np.ndarray, np.ndarray]:
    """The equilibria that the solver reaches from given states instead of zero.

    Args:
        classifier: left in evaluation mode.
        images: N images.
        start: w₀, (N, n).
        chunk: samples at a time.

    Returns:
        w, (N, n), and whether each converged, (N,).
    """
    classifier.eval()
    features = classifier.features(torch.from_numpy(images.pixels))
    starts = torch.as_tensor(start).to(features)
    with torch.no_grad():
        parts = zip(features.split(chunk), starts.split(chunk), strict=True)
        solutions = [classifier.equilibrium(part, w0) for part, w0 in parts]
    value, converged = ([getattr(solution, name) for solution in solutions] for name in ("value", "converged"))
    return _array(torch.cat(value)), _array(torch.cat(converged))


def _radius(classifier: QDEQClassifier, parts: tuple[torch.Tensor, ...], solutions: list[Solution]) -> np.ndarray:
    """Spectral radii at the equilibria; empty where the Jacobian would have to be measured."""
    radii = []
    for features, solution in zip(parts, solutions, strict=True):
        jacobian = solution.jacobian
        if jacobian is None:
            if not classifier.backend.exact:
                return np.zeros(0)
            with torch.no_grad():
                jacobian = classifier.equilibrium.map(features).frozen().value_and_jacobian(solution.value)[1]
        radii.append(spectral_radius(jacobian))
    return _array(torch.cat(radii))


def _median(values: np.ndarray) -> float | None:
    """The median of what is known; None if nothing is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else None


def _array(tensor: torch.Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array


@dataclass(frozen=True)
class Control:
    """Logistic regression on the same features as the quantum circuit sees.

    Attributes:
        accuracy: on the test split.
        predicted: classes of the test samples, (N,).
        parameters: how many numbers it learned.
    """

    accuracy: float
    predicted: np.ndarray
    parameters: int


def logistic_regression(train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> Control:
    """The classical control.

    Args:
        train: features (N, d) and labels (N,) that the classifier was trained on.
        test: those that it was tested on.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    model.fit(*train)
    predicted = model.predict(test[0])
    parameters = model[-1].coef_.size + model[-1].intercept_.size
    return Control(float((predicted == test[1]).mean()), predicted, int(parameters))


def wilson_interval(share: float, count: int, *, z: float = 1.96) -> tuple[float, float]:
    """The 95% confidence interval of a share of `count` independent trials (E. B. Wilson, 1927)."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, centre - half), min(1.0, centre + half)
