"""The models of a study, each with each of its training seeds, and the data that they see."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from qdeq_qiskit.backends.kinds.exact import ExactBackend
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.recipes import RecipeError
from qdeq_qiskit.studies.digest import digest
from qdeq_qiskit.studies.recipe import StudyModel, StudyRecipe
from qdeq_qiskit.studies.references import training_of
from qdeq_qiskit.training import ImageSplits, RunDirectory, TrainingRecipe, load_splits, logistic_regression
from qdeq_qiskit.training.errors import DataError, SetupError
from qdeq_qiskit.training.preparation import setting_up


@dataclass(frozen=True)
class TrainedModel:
    """One model with one training seed.

    Attributes:
        name: the model's name.
        recipe: how it is trained, or was.
        run: its run directory, within the study's folder if it is trained there.
        given: whether the run is there already, from elsewhere.
        identity: a hash of all that its weights and its test images depend on.
    """

    name: str
    recipe: TrainingRecipe
    run: Path
    given: bool
    identity: str

    @property
    def seed(self) -> int:
        """The training seed."""
        return self.recipe.seed

    @property
    def title(self) -> str:
        """A few words for people."""
        return f"{self.name}, seed {self.seed}"

    @property
    def layers_in_circuit(self) -> int:
        """How often the ansatz is repeated within one circuit: once, but in coherent mode."""
        return self.recipe.model.layers if self.recipe.model.mode == "coherent" else 1

    def circuit(self) -> QNNCircuit:
        """The circuit as it runs."""
        circuit = self.recipe.circuit.build()
        return circuit.repeated(self.layers_in_circuit) if self.layers_in_circuit > 1 else circuit

    @property
    def circuit_key(self) -> str:
        """Equal for models whose circuit is."""
        return digest([self.recipe.circuit, self.layers_in_circuit])


class Datasets:
    """The data of a study's models, read once each.

    Args:
        data_dir: folder of sets that are not bundled.
    """

    def __init__(self, data_dir: Path | None) -> None:
        self.data_dir = data_dir
        self._splits: dict[str, ImageSplits] = {}

    def of(self, recipe: TrainingRecipe) -> ImageSplits:
        """The splits that a recipe trains and tests on."""
        key = recipe.data.model_dump_json()
        if key not in self._splits:
            self._splits[key] = load_splits(recipe.data, data_dir=self.data_dir)
        return self._splits[key]

    def control(self, recipe: TrainingRecipe, samples: int | None) -> float:
        """Accuracy of logistic regression on the features that a model sees, on the images that the study tests."""
        splits, test = self.of(recipe), self.of(recipe).test
        if samples is not None:
            test = test.sample(samples, seed=recipe.data.split_seed)
        train_features, test_features = (
            recipe.model.features.of(torch.from_numpy(images.pixels)).numpy() for images in (splits.train, test)
        )
        return logistic_regression((train_features, splits.train.labels), (test_features, test.labels)).accuracy


def trained_models(study: StudyRecipe, datasets: Datasets, source: str) -> Iterator[TrainedModel]:
    """Every model with each of its seeds; each model is built once, to see that its parts fit.

    Raises:
        RecipeError, RunError, ModelFileError, DataError, SetupError: a model cannot be had; the message says why.
    """
    for model in study.models:
        if model.runs is not None:
            yield from (_given(model.name, Path(run), datasets, source) for run in model.runs)
        else:
            yield from _to_be_trained(model, study, datasets, source)


def _to_be_trained(model: StudyModel, study: StudyRecipe, datasets: Datasets, source: str) -> Iterator[TrainedModel]:
    recipe = training_of(model, f"{source}: models: {model.name}: training")
    _refuse_without_circuit(recipe, f"{source}: models: {model.name}")
    try:
        splits = datasets.of(recipe)
        with setting_up():
            classifier = QDEQClassifier.from_recipe(recipe.classifier(splits), seed=0)
            classifier.features(torch.from_numpy(np.ascontiguousarray(splits.train.pixels[:2])))
    except (DataError, SetupError) as error:
        raise type(error)(f"{source}: models: {model.name}: {error}") from error
    for seed in model.seeds or study.seeds:
        seeded = recipe.model_copy(update={"seed": seed})
        run = Path("runs") / f"{model.name.replace(' ', '_')}-seed{seed}"
        identity = digest([seeded, splits.fingerprint()])
        yield TrainedModel(model.name, seeded, run, given=False, identity=identity)


def _given(name: str, path: Path, datasets: Datasets, source: str) -> TrainedModel:
    run = RunDirectory.open(path)
    run.result()  # refuses one that is not finished
    recipe = run.recipe()
    _refuse_without_circuit(recipe, f"{source}: models: {name}: {path}")
    weights = hashlib.sha256((run.model / "model.safetensors").read_bytes()).hexdigest()
    with setting_up():
        classifier = QDEQClassifier.load(run.model, backend=ExactBackend()).recipe
    assert classifier is not None
    identity = digest([weights, classifier, datasets.of(recipe).test.digest()])
    return TrainedModel(name, recipe, path.resolve(), given=True, identity=identity)


def _refuse_without_circuit(recipe: TrainingRecipe, source: str) -> None:
    """A study is about what goes wrong in circuits."""
    if recipe.model.map == "classical":
        raise RecipeError(
            f"{source}: model.map is 'classical', so there is no circuit for noise and shots to act on; leave this "
            "model out, or take one whose model.map is quantum"
        )
