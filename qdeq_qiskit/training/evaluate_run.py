"""A finished run's model on test images, on its own backend and on another one beside it."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds import AnyBackend
from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.datasets import load_splits
from qdeq_qiskit.training.errors import RunError, SetupError
from qdeq_qiskit.training.evaluation import Evaluation, evaluate
from qdeq_qiskit.training.fit import setting_up
from qdeq_qiskit.training.run_directory import RunDirectory

SAMPLES_ON_A_SAMPLED_BACKEND = 48
# A relative residual of τ leaves w within about ‖(I − J)⁻¹‖ τ ‖w‖ of the root. Two such errors, with an inverse of up
# to 50, stay within this many τ ‖w‖; two roots further apart are taken for different ones.
BRANCH_TOLERANCES = 100


@dataclass(frozen=True)
class Comparison:
    """One model on the same samples, on the backend of its training and perhaps on another.

    Attributes:
        outcomes: evaluations by what the backend says of itself; the training's first.
        total: how many test samples there are.
        path: where the figures were written.
        tolerance: relative residual that both solvers sought, the larger one of the two; None where a backend is
            sampled, or no equilibrium was sought, so that roots cannot be told apart.
    """

    outcomes: dict[str, Evaluation]
    total: int
    path: Path
    tolerance: float | None = None

    def figures(self) -> dict[str, Any]:
        """All figures, and how far the other backend's equilibria are from the training's.

        With a tolerance, residuals come first: only samples that converged on both are matched, the others are
        `not_compared`. Two roots of a sample that are further apart than `BRANCH_TOLERANCES` tolerances, relative to
        the larger one, are a change of branch, which no displacement describes: `branch_changes` counts them, and the
        displacement is the median of the matched samples that stayed on their branch. Without a tolerance it is the
        median of all samples.
        """
        first, *others = self.outcomes.values()
        figures: dict[str, Any] = {name: outcome.metrics() for name, outcome in self.outcomes.items()}
        for other in others:
            figures["compared"] = {
                "same_prediction": float((first.predicted == other.predicted).mean()),
                **self._displacement(first, other),
            }
        return figures

    def _displacement(self, first: Evaluation, other: Evaluation) -> dict[str, Any]:
        distance = np.linalg.norm(first.state - other.state, axis=1)
        if self.tolerance is None:
            return {"median_displacement": float(np.median(distance))}
        matched = first.converged & other.converged
        size = np.maximum(np.linalg.norm(first.state, axis=1), np.linalg.norm(other.state, axis=1))
        changed = matched & (distance > BRANCH_TOLERANCES * self.tolerance * size)
        stayed = distance[matched & ~changed]
        return {
            "median_displacement": float(np.median(stayed)) if len(stayed) else None,
            "branch_changes": int(changed.sum()),
            "not_compared": int((~matched).sum()),
        }

    def table(self) -> Table:
        """The figures as a table."""
        samples = len(next(iter(self.outcomes.values())).labels)
        table = Table(title=f"{samples:,} of {self.total:,} test images", title_justify="left", title_style="bold")
        table.add_column("", style="dim")
        for name in self.outcomes:
            table.add_column(name, justify="right")
        metrics = [outcome.metrics() for outcome in self.outcomes.values()]
        for name, form in _ROWS.items():
            values = [entry[name] for entry in metrics]
            if name not in _SPENT or any(values):
                table.add_row(name.replace("_", " "), *("–" if v is None else form.format(v) for v in values))
        compared = self.figures().get("compared")
        if compared:
            blank = [""] * (len(self.outcomes) - 1)
            table.add_row("same prediction", *blank, f"{compared['same_prediction']:.1%}")
            displacement = compared["median_displacement"]
            shown = "–" if displacement is None else f"{displacement:.1e}"
            table.add_row("displacement of w*, median", *blank, shown)
            for name in ("branch_changes", "not_compared"):
                if name in compared:
                    table.add_row(name.replace("_", " "), *blank, f"{compared[name]:,}")
        return table


def evaluate_run(
    path: Path,
    *,
    backend: str | None = None,
    samples: int | None = None,
    data_dir: Path | None = None,
    console: Console | None = None,
) -> Comparison:
    """Test the model of a run; the figures also go to `evaluations/` in its directory.

    Args:
        path: the run's directory.
        backend: name or path of a backend recipe; None for the run's own backend alone.
        samples: how many test images, with the classes in their proportions; None for all, or for 48 on a backend
            that is sampled.
        data_dir: as for `fit`; None for where the run was begun with.
        console: where lines say what takes long and where the figures went; None for nowhere.

    Raises:
        RunError, ModelFileError, RecipeError, DataError, SetupError: something cannot be used; the message says what.
    """
    directory = RunDirectory.open(path)
    if not directory.model.is_dir():
        raise RunError(f"{path}: no epoch was finished, so there is no model; --resume it first")
    classifiers = _classifiers(directory, backend)
    if samples is None and not classifiers[-1].backend.exact:
        samples = SAMPLES_ON_A_SAMPLED_BACKEND
    recipe = directory.recipe()
    test = load_splits(recipe.data, data_dir=data_dir or directory.data_dir()).test
    images = test if samples is None else test.sample(samples, seed=recipe.data.split_seed)
    outcomes = {}
    for classifier in classifiers:
        description = classifier.backend.describe()
        if console is not None and not classifier.backend.exact:
            console.print(f"running {len(images)} images on: {description}", highlight=False)
        outcomes[description] = evaluate(classifier, images)
    name = "own" if backend is None else Path(backend).stem
    folder = directory.path / "evaluations"
    folder.mkdir(exist_ok=True)
    comparison = Comparison(outcomes, len(test), folder / f"{name}-{len(images)}.json", _tolerance(classifiers))
    write_atomically(comparison.path, json.dumps(comparison.figures(), indent=2) + "\n")
    if console is not None:
        console.print(f"written to: {comparison.path}", soft_wrap=True, highlight=False, markup=False)
    return comparison


def _classifiers(directory: RunDirectory, backend: str | None) -> list[QDEQClassifier]:
    """The model on its own backend, and on the one that was asked for."""
    if backend is None:
        with setting_up():
            return [QDEQClassifier.load(directory.model)]
    chosen = recipes.load("backends", backend, AnyBackend)
    with setting_up():
        other = QDEQClassifier.load(directory.model, backend=chosen)
    try:
        with setting_up():
            return [QDEQClassifier.load(directory.model), other]
    except SetupError as error:
        warnings.warn(f"no comparison with the backend of the training, which is not here: {error}", stacklevel=2)
        return [other]


def _tolerance(classifiers: list[QDEQClassifier]) -> float | None:
    """What the solvers sought, where all of them sought an equilibrium, on exact backends."""
    if any(each.equilibrium.mode != "implicit" or not each.backend.exact for each in classifiers):
        return None
    return max(each.equilibrium.solver.tolerance for each in classifiers)


_SPENT = ("circuits", "shots")
_ROWS = {
    "accuracy": "{:.1%}",
    "macro_f1": "{:.3f}",
    "log_loss": "{:.3f}",
    "converged_fraction": "{:.2%}",
    "median_residual": "{:.1e}",
    "mean_iterations": "{:.1f}",
    "mean_evaluations": "{:.1f}",
    "circuits": "{:,}",
    "shots": "{:,}",
    "seconds": "{:.2f}",
}
