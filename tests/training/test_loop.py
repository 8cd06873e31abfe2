"""The loop over epochs, by itself: without a run directory, with and without samples to validate on."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training import RunDirectory, TrainingRecipe, load_splits
from qdeq_qiskit.training.batches import Batches
from qdeq_qiskit.training.loop import KeepBest, run_epochs, torch_threads
from qdeq_qiskit.training.task import ClassifierTask


@pytest.fixture
def task(tiny: TrainingRecipe) -> ClassifierTask:
    """The tiny recipe's classifier, untrained."""
    splits = load_splits(tiny.data)
    classifier = QDEQClassifier.from_recipe(tiny.classifier(splits), seed=tiny.seed)
    return ClassifierTask(classifier, tiny.optimisation)


def batches(task: ClassifierTask, tiny: TrainingRecipe, split: str) -> Batches:
    images = getattr(load_splits(tiny.data), split)
    features = task.classifier.features(torch.from_numpy(images.pixels))
    size, seed = (tiny.optimisation.batch_size, tiny.seed) if split == "train" else (2048, None)
    return Batches(features, torch.from_numpy(images.labels), batch_size=size, seed=seed)


def test_the_loop_in_memory_ends_with_the_weights_of_a_run_with_a_directory_and_writes_nothing(
    task: ClassifierTask,
    tiny: TrainingRecipe,
    run: RunDirectory,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    keep = KeepBest()
    with torch_threads(tiny.optimisation.threads):
        run_epochs(
            task,
            batches(task, tiny, "train"),
            batches(task, tiny, "valid"),
            seed=tiny.seed,
            callbacks=[keep],
            logger=False,
        )
    written = load_file(run.model / "model.safetensors")
    assert all(torch.equal(written[name], tensor) for name, tensor in keep.tensors.items())
    assert keep.loss == min(row["valid_loss"] for row in task.history)
    assert list(empty.iterdir()) == []


def test_without_samples_to_validate_on_the_last_weights_are_kept_and_the_history_has_no_figures_of_them(
    task: ClassifierTask, tiny: TrainingRecipe
) -> None:
    keep = KeepBest()
    run_epochs(task, batches(task, tiny, "train"), None, seed=tiny.seed, callbacks=[keep], logger=False)
    last = task.classifier.tensors()
    assert all(torch.equal(tensor, last[name]) for name, tensor in keep.tensors.items())
    assert len(task.history) == tiny.optimisation.epochs
    for row in task.history:
        assert not [name for name in row if name.startswith("valid_")]
        assert math.isfinite(row["train_loss"])
        assert 0 < row["train_seconds"] <= row["seconds"]


def test_validation_does_not_change_what_is_learned(task: ClassifierTask, tiny: TrainingRecipe) -> None:
    assert task.classifier.recipe is not None
    twin = ClassifierTask(QDEQClassifier.from_recipe(task.classifier.recipe, seed=tiny.seed), tiny.optimisation)
    for one, valid in ((task, None), (twin, batches(task, tiny, "valid"))):
        run_epochs(one, batches(task, tiny, "train"), valid, seed=tiny.seed, callbacks=[KeepBest()], logger=False)
    learned, other = task.classifier.tensors(), twin.classifier.tensors()
    assert all(torch.equal(learned[name], other[name]) for name in learned)
