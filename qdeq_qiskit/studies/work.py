"""What workers do: train one model, evaluate one cell. Each writes its result, and does nothing if it is there."""

from __future__ import annotations

import shutil
import time
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import torch

from qdeq_qiskit.backends.kinds import Backend
from qdeq_qiskit.backends.kinds.exact import ExactBackend
from qdeq_qiskit.backends.noisy import NoisyLayer
from qdeq_qiskit.equilibrium import NotConvergedWarning
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.studies.digest import digest
from qdeq_qiskit.studies.directory import StudyDirectory
from qdeq_qiskit.studies.measures import measures
from qdeq_qiskit.studies.plan import UNMITIGATED, Cell
from qdeq_qiskit.studies.trained import TrainedModel
from qdeq_qiskit.training import DataRecipe, Evaluation, Images, RunDirectory, RunError, evaluate, load_splits
from qdeq_qiskit.training.displacement import Followed
from qdeq_qiskit.training.evaluation import follow
from qdeq_qiskit.training.fit import fit, resume
from qdeq_qiskit.training.preparation import setting_up

MOST_BUILT = 32
_BUILT: dict[str, QDEQClassifier] = {}


def train(model: TrainedModel, directory: StudyDirectory, data_dir: Path | None) -> None:
    """Train a model into its run directory, from where an earlier attempt was interrupted if there was one.

    There is no report of it; `qdeq report` writes one.
    """
    if is_trained(model, directory):
        return
    torch.set_num_threads(1)
    started = time.perf_counter()
    run = directory.path / model.run
    if (run / "recipe.yaml").is_file():
        resume(run, data_dir=data_dir, report=False)
    else:
        shutil.rmtree(run, ignore_errors=True)  # what is left of an attempt that had hardly begun
        fit(model.recipe, name=run.name, out=run, data_dir=data_dir, report=False)
    directory.books.log(f"train-{model.run.name}", time.perf_counter() - started)


def is_trained(model: TrainedModel, directory: StudyDirectory) -> bool:
    """Whether a model's run is finished."""
    run = directory.path / model.run
    return (run / "recipe.yaml").is_file() and RunDirectory(run).finished


def compute(cell: Cell, directory: StudyDirectory) -> None:
    """Evaluate a cell and write its arrays, then its figures.

    Raises:
        RunError: the model is not there, or the reference's arrays are damaged.
        ValueError, RuntimeError: the evaluation failed.
    """
    if directory.row(cell.key) is not None:
        return
    if not directory.cells.is_dir():
        raise RunError(f"{directory.cells}: this worker does not see it; every worker needs the study's folder")
    torch.set_num_threads(1)
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)  # counted, in the figures
        classifier = _classifier(cell, directory, cell.condition.backend)
        images = _test_images(cell)
        setup_seconds = time.perf_counter() - started
        outcome = evaluate(classifier, images)
        reference = None if cell.reference is None else Evaluation.load(directory.arrays(cell.reference))
        followed = _followed(cell, directory, classifier, images, reference)
    row = measures(cell, classifier, outcome, reference, followed)
    outcome.save(directory.arrays(cell.key))
    seconds = time.perf_counter() - started
    row |= {"setup_seconds": setup_seconds, "total_seconds": seconds}
    directory.books.log(cell.key, seconds)
    directory.finish_cell(cell.key, {**cell.labels(), **row})


def _classifier(cell: Cell, directory: StudyDirectory, backend: Backend) -> QDEQClassifier:
    """The cell's model on a backend.

    Compiling a circuit for a processor takes longer than evaluating it on a test set, and does not depend on weights:
    where there are no shots, whose sequence a cell begins anew, a classifier that was built before takes over others.
    """
    with setting_up():
        # Its own backend may be a GPU that is not here, and is not needed.
        trained = QDEQClassifier.load(directory.path / cell.model.run / "model", backend=ExactBackend())
    assert trained.recipe is not None
    recipe = trained.recipe.on_backend(backend)
    key = digest([recipe, cell.tolerance])
    classifier = _BUILT.get(key) if backend.exact else None
    if classifier is None:
        with setting_up():
            classifier = QDEQClassifier.from_recipe(recipe, seed=0).eval()
        equilibrium = classifier.equilibrium
        if cell.tolerance is not None and backend.exact:
            equilibrium.solver = replace(equilibrium.current_solver, tolerance=cell.tolerance)  # type: ignore[type-var]
            equilibrium.test_solver = None
        if backend.exact:
            _BUILT[key] = classifier
            while len(_BUILT) > MOST_BUILT:
                _BUILT.pop(next(iter(_BUILT)))
    classifier.load_tensors(trained.tensors())
    return classifier


def _followed(
    cell: Cell, directory: StudyDirectory, classifier: QDEQClassifier, images: Images, reference: Evaluation | None
) -> Followed | None:
    """The roots of this cell's map that the solver reaches from the reference's equilibria.

    Of a sampled map, those of its exact expectation values. None where no equilibria are sought, where the map is the
    reference's, and where its exact values are not to be had at the price of a layer.
    """
    backend = classifier.backend
    if reference is None or classifier.equilibrium.mode != "implicit" or not backend.noisy:
        return None
    if not backend.exact:
        if cell.condition.mitigation != UNMITIGATED:
            return None
        classifier = _classifier(cell, directory, backend.model_copy(update={"shots": None}))
    if not isinstance(classifier.equilibrium.layer, NoisyLayer):
        return None
    return Followed(*follow(classifier, images, reference.state))


def _test_images(cell: Cell) -> Images:
    recipe = cell.model.recipe.data
    test = _test_split(recipe.model_dump_json(), cell.data_dir)
    return test if cell.samples is None else test.sample(cell.samples, seed=recipe.split_seed)


@lru_cache(maxsize=4)
def _test_split(recipe: str, data_dir: Path | None) -> Images:
    return load_splits(DataRecipe.model_validate_json(recipe), data_dir=data_dir).test
