"""The data sets that recipes name."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training import DataError, DataRecipe, TrainingRecipe, load_splits
from qdeq_qiskit.training.data.cifar10 import read_cifar10
from qdeq_qiskit.training.fit import fit

needs_mnist = pytest.mark.skipif(
    not os.environ.get("QDEQ_DATA_DIR"),
    reason="needs the real MNIST files: set QDEQ_DATA_DIR to a folder that holds mnist/ and fashion_mnist/",
)

needs_cifar10 = pytest.mark.skipif(
    not (Path(os.environ.get("QDEQ_DATA_DIR", "")) / "cifar10" / "cifar10_gray32.npz").is_file(),
    reason="needs the real CIFAR-10: set QDEQ_DATA_DIR to a folder that holds cifar10/cifar10_gray32.npz",
)


def test_digits_are_relabelled_in_the_order_of_the_recipe() -> None:
    splits = load_splits(DataRecipe(name="digits", classes=(9, 0)))
    assert splits.class_names == ("9", "0")
    bundle = load_digits()
    by_pixels = {image.tobytes(): label for image, label in zip(bundle.images, bundle.target, strict=True)}
    for part in (splits.train, splits.valid, splits.test):
        for pixels, label in zip(part.pixels, part.labels, strict=True):
            original = by_pixels[(pixels.astype(np.float64) * 16).tobytes()]
            assert (9, 0)[label] == original


def test_splits_are_disjoint_stratified_and_of_the_asked_sizes() -> None:
    splits = load_splits(DataRecipe(name="digits", test_fraction=0.25, validation_fraction=0.2))
    parts = [splits.train, splits.valid, splits.test]
    assert [len(part) for part in parts] == [1077, 270, 450]
    everything = {image.tobytes() for part in parts for image in part.pixels}
    assert len(everything) == len({image.tobytes() for image in load_digits().images.astype(np.float32)})
    shares = [np.bincount(part.labels) / len(part) for part in parts]
    np.testing.assert_allclose(shares[1], shares[0], atol=0.01)
    np.testing.assert_allclose(shares[2], shares[0], atol=0.01)


def test_pixels_are_in_unit_range() -> None:
    splits = load_splits(DataRecipe(name="digits"))
    assert splits.train.pixels.min() == 0
    assert splits.train.pixels.max() == 1


def test_a_limit_keeps_every_class_in_every_split() -> None:
    splits = load_splits(DataRecipe(name="digits", limit=30))
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [30, 30, 30]
    assert np.bincount(splits.valid.labels).min() >= 2


@pytest.mark.parametrize("classes", [(3,), (3, 3), ()])
def test_fewer_than_two_different_classes_are_refused(classes: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least two classes are needed"):
        DataRecipe(name="digits", classes=classes)


@needs_mnist
def test_mnist4_has_the_papers_test_set_and_a_stratified_fifth_for_validation() -> None:
    splits = load_splits(DataRecipe(name="mnist", classes=(0, 3, 6, 9)))
    assert len(splits.test) == 3957
    assert len(splits.train) + len(splits.valid) == 23921
    assert len(splits.valid) == pytest.approx(23921 / 5, abs=1)
    shares = [np.bincount(part.labels) / len(part) for part in (splits.train, splits.valid)]
    np.testing.assert_allclose(shares[0], shares[1], atol=1e-3)
    assert splits.train.pixels.mean() == pytest.approx(0.1307, abs=0.02)


@needs_mnist
def test_fashion_mnist_names_its_classes() -> None:
    splits = load_splits(DataRecipe(name="fashion_mnist", classes=(0, 9), limit=20))
    assert splits.class_names == ("t-shirt", "ankle boot")


@needs_cifar10
def test_the_real_cifar10_has_its_sizes_classes_and_brightness() -> None:
    (train, train_labels), (test, test_labels) = read_cifar10()
    assert (train.shape, test.shape) == ((50_000, 32, 32), (10_000, 32, 32))
    assert np.bincount(train_labels).tolist() == [5000] * 10
    assert np.bincount(test_labels).tolist() == [1000] * 10
    # The luma of the mean colour (0.4914, 0.4822, 0.4465) that is known of the training images.
    assert train.mean() / 255 == pytest.approx(0.299 * 0.4914 + 0.587 * 0.4822 + 0.114 * 0.4465, abs=1e-3)


@needs_cifar10
def test_cifar10_is_trained_on_by_its_recipe(tmp_path: Path, without_report: None) -> None:
    changes = ["data.limit=40", "optimisation.epochs=2", "optimisation.batch_size=20"]
    run = fit(TrainingRecipe.load("cifar10", changes), name="cifar10", out=tmp_path / "run")
    assert run.result()["epochs"] == 2
    model = QDEQClassifier.load(run.model)
    assert model.recipe is not None
    assert model.recipe.class_names[:2] == ("airplane", "automobile")
    assert model.features(torch.rand(3, 32, 32)).shape == (3, 100)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"limit": 2}, r"^data\.limit is 2; .* expected at least 10$"),
        ({"test_fraction": 0.999}, r"^data\.test_fraction is 0\.999: 1797 images .* an image of every class$"),
        ({"validation_fraction": 0.999}, r"^data\.validation_fraction is 0\.999: "),
    ],
)
def test_splits_too_small_for_every_class_are_refused_with_the_key(change: dict[str, float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_splits(DataRecipe.model_validate({"name": "digits", **change}))
