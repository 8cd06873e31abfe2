"""A cell in figures."""

from __future__ import annotations

from typing import Any

import numpy as np

from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.studies.plan import Cell
from qdeq_qiskit.training import Evaluation
from qdeq_qiskit.training.displacement import Displacement, Followed, displacement


def measures(
    cell: Cell,
    classifier: QDEQClassifier,
    outcome: Evaluation,
    reference: Evaluation | None,
    followed: Followed | None,
) -> dict[str, Any]:
    """What the table says of a cell beside its labels; the names of its columns, in their order.

    Args:
        cell: which.
        classifier: the model on the cell's backend.
        outcome: what it made of the test images.
        reference: what the same model makes of them exactly and without noise; None for that cell itself.
        followed: the noisy roots reached from the reference's; None where there is no such thing.
    """
    metrics = outcome.metrics()
    low, high = metrics["accuracy_interval"]
    evaluations = metrics["mean_evaluations"]
    return {
        "samples": metrics["samples"],
        "accuracy": metrics["accuracy"],
        "accuracy_low": low,
        "accuracy_high": high,
        "class_accuracy": _class_accuracy(outcome),
        "log_loss": metrics["log_loss"],
        **_moved(cell, classifier, outcome, reference, followed),
        "residual": metrics["median_residual"],
        "residual_90": float(np.quantile(outcome.residual, 0.9)) if len(outcome.residual) else None,
        "converged": metrics["converged_fraction"],
        "iterations": metrics["mean_iterations"],
        "evaluations": evaluations,
        "spectral_radius": metrics["spectral_radius_median"],
        "half_width": metrics["median_half_width"],
        "confidence": metrics["median_confidence"],
        "circuits": metrics["circuits"],
        "total_shots": metrics["shots"],
        "sequential_two_qubit_depth": evaluations * cell.cost.two_qubit_depth,
        "seconds": metrics["seconds"],
    }


def _class_accuracy(outcome: Evaluation) -> list[float | None]:
    """The share of each class's images that are recognised; None for a class without images."""
    hits = outcome.predicted == outcome.labels
    classes = range(outcome.probabilities.shape[1])
    rows = [outcome.labels == label for label in classes]
    return [float(hits[chosen].mean()) if chosen.any() else None for chosen in rows]


def _moved(
    cell: Cell,
    classifier: QDEQClassifier,
    outcome: Evaluation,
    reference: Evaluation | None,
    followed: Followed | None,
) -> dict[str, Any]:
    """How far the states are from the reference's, in w and in z = R w, and what that does to the answers."""
    first = outcome if reference is None else reference
    equilibrium, lift = classifier.equilibrium, classifier.equilibrium.lift
    # Where a map is another than the reference's, its roots are expected where those of the reference lead to.
    expected = followed is not None or not classifier.backend.noisy
    sought = equilibrium.mode == "implicit" and expected
    moved = displacement(
        first,
        outcome,
        tolerance=equilibrium.current_solver.tolerance if sought else None,
        followed=followed,
        lift=None if lift is None else lift.cpu().numpy(),
    )
    return {
        **_quartiles("displacement", moved, lifted=False),
        **_quartiles("displacement_z", moved, lifted=True),
        "branch_changes": moved.branch_changes,
        "not_compared": moved.not_compared,
        "same_prediction": float((first.predicted == outcome.predicted).mean()),
    }


def _quartiles(name: str, moved: Displacement, *, lifted: bool) -> dict[str, float | None]:
    low, median, high = moved.quartiles(lifted=lifted) or (None, None, None)
    return {name: median, f"{name}_25": low, f"{name}_75": high}
