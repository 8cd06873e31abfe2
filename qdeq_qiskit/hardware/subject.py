"""What is run on a processor: a trained model, and images that it has not seen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.models.storage import RECIPE_FILE, WEIGHTS_FILE
from qdeq_qiskit.training.continuation import splits_of
from qdeq_qiskit.training.data.images import Images, ImageSplits
from qdeq_qiskit.training.errors import RunError
from qdeq_qiskit.training.preparation import setting_up
from qdeq_qiskit.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Subject:
    """A run's model and data.

    Attributes:
        directory: the run.
        classifier: the model, on the backend that it was trained on.
        splits: the run's images.
        model_digest: SHA-256 of the model's files.
    """

    directory: RunDirectory
    classifier: QDEQClassifier
    splits: ImageSplits
    model_digest: str

    @classmethod
    def open(cls, path: Path, *, data_dir: Path | None = None) -> Subject:
        """Read a run's best model and its data.

        Args:
            path: the run's directory.
            data_dir: the folder of the data; None for where the run was begun with.

        Raises:
            RunError, ModelFileError, RecipeError, DataError, SetupError: something cannot be used; the message says
                what.
        """
        directory = RunDirectory.open(path)
        if not directory.model.is_dir():
            raise RunError(f"{path}: no epoch was finished, so there is no model; `qdeq fit --resume {path}` first")
        with setting_up():
            classifier = QDEQClassifier.load(directory.model)
        if classifier.options.map == "classical":
            raise RunError(
                f"{path}: model.map is 'classical', so there is no circuit to run on a processor; take a run whose "
                "model.map is quantum"
            )
        splits = splits_of(directory, data_dir)
        content = hashlib.sha256()
        for name in (RECIPE_FILE, WEIGHTS_FILE):
            content.update((directory.model / name).read_bytes())
        return cls(directory, classifier, splits, content.hexdigest())

    @cached_property
    def qnn(self) -> QNNCircuit:
        """The circuit that is evaluated, one and the same object, so that it is compiled once."""
        return self.classifier.options.circuit(self.classifier.circuit)

    def test_images(self, count: int) -> Images:
        """So many test images, or all if there are fewer; those that `qdeq evaluate --samples` takes."""
        return self.splits.test.sample(count, seed=self.directory.recipe().data.split_seed)

    def training_images(self, count: int) -> Images:
        """So many training images, or all if there are fewer."""
        return self.splits.train.sample(count, seed=self.directory.recipe().data.split_seed)
