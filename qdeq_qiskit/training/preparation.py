"""What a run needs in memory: its data and its model."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.batches import Batches
from qdeq_qiskit.training.data.datasets import load_splits
from qdeq_qiskit.training.data.images import Images, ImageSplits
from qdeq_qiskit.training.errors import DataError, SetupError
from qdeq_qiskit.training.evaluation import Control, logistic_regression
from qdeq_qiskit.training.recipe import TrainingRecipe


@dataclass(frozen=True)
class Prepared:
    """What a run needs in memory.

    Attributes:
        recipe: what to do.
        splits: the images.
        classifier: the model, with its initial weights.
        features: each split's features, (N, d), by its name.
        labels: each split's labels, (N,).
    """

    recipe: TrainingRecipe
    splits: ImageSplits
    classifier: QDEQClassifier
    features: dict[str, torch.Tensor]
    labels: dict[str, torch.Tensor]

    def batches(self, split: str, size: int, *, seed: int | None = None) -> Batches:
        """A split's batches."""
        return Batches(self.features[split], self.labels[split], batch_size=size, seed=seed)

    def control(self) -> Control:
        """Logistic regression on the same features."""
        train, test = (
            (self.features[split].cpu().numpy(), self.labels[split].cpu().numpy()) for split in ("train", "test")
        )
        return logistic_regression(train, test)


def prepare(recipe: TrainingRecipe, data_dir: Path | None) -> Prepared:
    """Read the data, build the model.

    Raises:
        DataError, SetupError: it cannot be done; the message says why.
    """
    splits = load_splits(recipe.data, data_dir=data_dir)
    images: dict[str, Images] = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    with setting_up():
        classifier = QDEQClassifier.from_recipe(recipe.classifier(splits), seed=recipe.seed)
        # Pooled once, up front: a training step sees features only.
        features = {split: classifier.features(torch.from_numpy(part.pixels)) for split, part in images.items()}
    device = classifier.weight.device
    check_processes(recipe.optimisation.processes, device, samples=len(splits.train.labels))
    labels = {split: torch.from_numpy(part.labels).to(device) for split, part in images.items()}
    return Prepared(recipe, splits, classifier, features, labels)


def check_processes(processes: int, device: torch.device, *, samples: int) -> None:
    """See that as many processes can share a training set, and have a GPU each where they are to compute on GPUs.

    Raises:
        SetupError: they cannot.
    """
    if processes == 1:
        return
    if processes > samples:
        raise SetupError(
            f"optimisation.processes is {processes}, but there are only {samples} images to train on; every process "
            "needs one"
        )
    if device.type != "cuda":
        return
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise SetupError(
            f"optimisation.processes is {processes}, but this machine shows {gpus} GPU{'s' if gpus != 1 else ''}; each "
            "process needs one of its own: set it to at most that, or backend.device to cpu"
        )
    if device.index:
        raise SetupError(
            f"optimisation.processes is {processes}, which takes the first {processes} GPUs, but backend.device is "
            f"{str(device)!r}; set it to cuda, and choose GPUs with the environment variable CUDA_VISIBLE_DEVICES"
        )


@contextlib.contextmanager
def setting_up() -> Iterator[None]:
    """What building a model refuses (a GPU that is not there, Aer missing, sizes that do not fit) is a SetupError."""
    try:
        yield
    except DataError:
        raise
    except (ValueError, ImportError) as error:
        raise SetupError(str(error)) from error
