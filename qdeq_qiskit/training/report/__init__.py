"""The report of a run: one HTML file that needs nothing beside itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from qdeq_qiskit import recipes
from qdeq_qiskit.equilibrium import SampledSolver
from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.training.data.images import ImageSplits
from qdeq_qiskit.training.errors import RunError
from qdeq_qiskit.training.evaluation import Evaluation
from qdeq_qiskit.training.recipe import TrainingRecipe
from qdeq_qiskit.training.report import figures
from qdeq_qiskit.training.report.circuit_figure import circuit_figure
from qdeq_qiskit.training.report.page import embedded, page_templates
from qdeq_qiskit.training.run_directory import RunDirectory

TEMPLATE = "report.html.j2"


def write_report(directory: RunDirectory, splits: ImageSplits) -> Path:
    """Write `report.html` from what a finished run left behind.

    Args:
        directory: the run.
        splits: its data, for the pictures of test images.

    Returns:
        The report's path.

    Raises:
        RunError: the run is not finished, or a file of it is damaged.
    """
    recipe, result, origin = directory.recipe(), directory.result(), directory.origin()
    test = Evaluation.load(directory.test)
    if not np.array_equal(test.labels, splits.test.labels):
        raise RunError(f"{directory.test}: holds other test samples than the data set has")
    qnn = recipe.model.circuit(recipe.circuit.build())
    page = (
        page_templates(Path(__file__).parent)
        .get_template(TEMPLATE)
        .render(
            name=origin.get("name", directory.path.name),
            recipe=recipe,
            description=_description(origin.get("name"), recipe),
            recipe_text=recipes.dump(recipe),
            result=result,
            origin=origin,
            solver=recipe.training_solver(),
            test_solver=recipe.testing_solver() if recipe.model.test_solver else None,
            qnn=qnn,
            classical=recipe.model.map == "classical",
            resources=qnn.resources(),
            class_names=splits.class_names,
            mistakes=int((test.predicted != test.labels).sum()),
            unconverged=int((~test.converged).sum()),
            figures={name: embedded(figure) for name, figure in _figures(directory, recipe, result, test, splits)},
        )
    )
    write_atomically(directory.report, page)
    return directory.report


def _figures(
    directory: RunDirectory, recipe: TrainingRecipe, result: dict[str, Any], test: Evaluation, splits: ImageSplits
) -> Iterator[tuple[str, Figure]]:
    """The figures that the run has numbers for, by the names that the template knows."""
    penalty = recipe.model.penalty
    yield (
        "learning",
        figures.learning_curves(
            directory.epochs(),
            best_epoch=result["best_epoch"],
            control=result["control"]["accuracy"],
            penalised=recipe.model.mode == "implicit" and penalty is not None and penalty.weight > 0,
        ),
    )
    yield "predictions", figures.predictions(splits.test.pixels, test.labels, test.probabilities, splits.class_names)
    yield "confusion", figures.confusion_matrix(test.labels, test.predicted, splits.class_names)
    if test.trace.size:
        solver = recipe.testing_solver()
        # The statistical solver stops by the noise of each sample, which is no one line.
        tolerance = None if isinstance(solver, SampledSolver) else solver.tolerance
        yield "convergence", figures.convergence(test.trace, tolerance=tolerance)
        yield "iterations", figures.iteration_histogram(test.iterations)
    if test.radius.size:
        yield "radius", figures.spectral_radius(test.radius)
    if recipe.model.map == "quantum":
        yield "circuit", circuit_figure(recipe.circuit.build())


def _description(name: str | None, recipe: TrainingRecipe) -> str:
    """The recipe's own, unless the run is a shipped recipe changed, of which it need no longer be true."""
    if name not in {entry.name for entry in recipes.list_recipes("training")}:
        return recipe.description
    shipped = TrainingRecipe.load(name)
    if shipped.description != recipe.description:
        return recipe.description
    before, now = shipped.model_dump(), recipe.model_dump()
    changed = [key for key in ("circuit", "backend") if before[key] != now[key]]
    for group in ("data", "model", "optimisation"):
        changed += [f"{group}.{key}" for key in now[group] if before[group][key] != now[group][key]]
    return f"The recipe {name}, changed in {', '.join(changed)}." if changed else recipe.description
