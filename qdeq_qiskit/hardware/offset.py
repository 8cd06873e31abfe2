"""The surrogate beside direct execution: it has an ideal encoder where circuits have the processor's own.

What the encoder's noise should move is computed on the calibration, exactly; what was moved is told from the two
results. Neither is corrected for.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
import torch

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.in_memory import NoisyCircuitBackend
from qdeq_qiskit.backends.noisy import NoisyCircuit
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.noise import CircuitNoise
from qdeq_qiskit.training.data.images import Images
from qdeq_qiskit.training.displacement import Displacement, Followed, displacement
from qdeq_qiskit.training.evaluation import Evaluation, evaluate, follow

# Where a solver has no tolerance of its own.
_TOLERANCE = 1e-3


@final
@dataclass(frozen=True, eq=False)
class Offset:
    """From the ideal encoder's equilibria to the noisy encoder's; N samples, n state entries.

    Attributes:
        displacement: of w*.
        values: f(noisy encoder) − f(ideal encoder) at the noisy encoder's equilibria, (N, n); empty in modes that
            seek none.
        same_predictions: samples with the same class on both sides.
        samples: N.
        moved: w*(noisy) − w*(ideal), (N, n).
    """

    displacement: Displacement
    values: np.ndarray = field(repr=False)
    same_predictions: int
    samples: int
    moved: np.ndarray = field(repr=False)

    def figures(self) -> dict[str, Any]:
        """Figures for a result file."""
        sizes = np.abs(self.values)
        return {
            **self.displacement.figures(),
            "mean_value_offset": float(sizes.mean()) if sizes.size else None,
            "largest_value_offset": float(sizes.max()) if sizes.size else None,
            "same_predictions": self.same_predictions,
            "samples": self.samples,
        }


@final
@dataclass(frozen=True, eq=False)
class OffsetReport:
    """What the encoder's noise moves.

    Attributes:
        expected: on the calibration, without shots.
        found: from the surrogate to the circuits, shot noise of both included; None if no circuits were run.
    """

    expected: Offset
    found: Offset | None

    def figures(self) -> dict[str, Any]:
        """Figures for a result file."""
        return {
            "expected": self.expected.figures(),
            "found": None if self.found is None else self.found.figures(),
        }

    def sentences(self) -> list[str]:
        """The report in words."""
        parts = [("By the calibration, noise of the encoder, which the surrogate leaves out, moves", self.expected)]
        if self.found is not None:
            parts.append(("Going from the surrogate to the circuits, shot noise of both included, moved", self.found))
        return [f"{start} {_in_words(offset)}" for start, offset in parts]


def expected_offset(
    classifier: QDEQClassifier, images: Images, compiled: CompiledCircuit, noise: CircuitNoise
) -> Offset:
    """What the encoder's noise moves by the calibration.

    Args:
        classifier: on any backend.
        images: the samples.
        compiled: the model's whole circuit.
        noise: of that circuit, by the calibration.

    Raises:
        ValueError: the circuit has too many wires to be computed exactly.
    """
    qnn = classifier.options.circuit(classifier.circuit)
    ideal, noisy = (
        classifier.on_backend(NoisyCircuitBackend.of(NoisyCircuit(qnn, compiled, noise, encoder_noise=encoder_noise)))
        for encoder_noise in (False, True)
    )
    first, other = evaluate(ideal, images), evaluate(noisy, images)
    lift = ideal.equilibrium.lift
    matrix = None if lift is None else lift.numpy()
    if classifier.options.mode != "implicit":
        return _offset(first, other, displacement(first, other, tolerance=None, lift=matrix), _no_values(first))
    tolerance = float(getattr(noisy.equilibrium.current_solver, "tolerance", _TOLERANCE))
    followed = Followed(*follow(noisy, images, first.state))
    moved = displacement(first, other, tolerance=tolerance, followed=followed, lift=matrix)
    return _offset(first, other, moved, _value_offsets(ideal, images, other))


def offset_report(
    classifier: QDEQClassifier,
    images: Images,
    surrogate: Evaluation,
    circuits: Evaluation | None,
    *,
    expected: Offset,
) -> OffsetReport:
    """What is expected, beside what was found where both methods were run.

    Args:
        classifier: the one on the measured operators.
        images: the samples.
        surrogate: the classifier's outcomes; with half-widths from a bootstrap, so that roots can be told apart.
        circuits: of direct execution on the same samples; None if there was none.
        expected: what `expected_offset` gave for these samples.
    """
    if circuits is None:
        return OffsetReport(expected, None)
    equilibrium = classifier.equilibrium
    lift = None if equilibrium.lift is None else equilibrium.lift.cpu().numpy()
    other = _with_both_widths(surrogate, circuits)
    if equilibrium.mode != "implicit":
        found = displacement(surrogate, other, tolerance=None, lift=lift)
        return OffsetReport(expected, _offset(surrogate, circuits, found, _no_values(surrogate)))
    # A root that moved by what the encoder's noise moves it has not changed its branch.
    moved = np.where(np.isfinite(expected.moved), expected.moved, 0.0)
    followed = Followed(surrogate.state + moved, surrogate.converged)
    found = displacement(surrogate, other, tolerance=equilibrium.current_solver.tolerance, followed=followed, lift=lift)
    values = _value_offsets(classifier, images, circuits)
    return OffsetReport(expected, _offset(surrogate, circuits, found, values))


def _offset(first: Evaluation, other: Evaluation, moved: Displacement, values: np.ndarray) -> Offset:
    same = int((first.predicted == other.predicted).sum())
    return Offset(moved, values, same, len(first.labels), other.state - first.state)


def _value_offsets(ideal: QDEQClassifier, images: Images, other: Evaluation) -> np.ndarray:
    """Outputs of the other map less those of the ideal encoder's, at the other map's equilibria, (N, n).

    An equilibrium is its own value, f(w) = w, so that nothing need be evaluated once more.
    """
    features = ideal.features(torch.from_numpy(images.pixels))
    with torch.no_grad():
        there = torch.as_tensor(other.state).to(features)
        found: np.ndarray = (there - ideal.equilibrium.map(features).value(there)).numpy()
    return found[other.converged]


def _no_values(evaluation: Evaluation) -> np.ndarray:
    """Offsets of outputs where no equilibrium is sought, (0, n)."""
    return np.zeros((0, evaluation.state.shape[1]))


def _with_both_widths(first: Evaluation, other: Evaluation) -> Evaluation:
    """The other evaluation, its half-widths those of the difference of both."""
    widths = [each.half_width for each in (first, other) if len(each.half_width)]
    if not widths:
        return other
    return dataclasses.replace(other, half_width=np.sqrt(np.square(widths).sum(axis=0)))


def _in_words(offset: Offset) -> str:
    quartiles = offset.displacement.quartiles()
    distance = "no equilibrium that can be compared" if quartiles is None else f"w* by {quartiles[1]:.2g} (median)"
    if quartiles is not None and len(offset.values):
        distance += f" and outputs by {np.abs(offset.values).mean():.2g} (mean)"
    changes = offset.displacement.branch_changes
    branches = "" if changes is None else f"; {changes} equilibria are on another branch"
    return f"{distance}{branches}; {offset.same_predictions} of {offset.samples} predictions are the same."
