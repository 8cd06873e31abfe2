"""The data sets that recipes name: scikit-learn's bundled digits, MNIST, FashionMNIST."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from qdeq_qiskit.training import idx
from qdeq_qiskit.training.errors import DataError
from qdeq_qiskit.training.images import Images, ImageSplits

Fraction = Annotated[float, Field(gt=0, lt=1)]


class DataRecipe(BaseModel):
    """Which images, and how they are split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["digits", "mnist", "fashion_mnist"] = Field(
        description="digits: scikit-learn's bundled 8×8 set; mnist, fashion_mnist: 28×28, from a folder or by download."
    )
    classes: tuple[Annotated[int, Field(ge=0, le=9)], ...] | None = Field(
        default=None, description="The classes to keep, relabelled 0, 1, … in this order; null for all ten."
    )
    validation_fraction: Fraction = Field(
        default=0.2, description="Share of the training images that is held out to choose the best epoch."
    )
    test_fraction: Fraction = Field(
        default=0.25, description="Share of all images kept for testing; a set with an official test split ignores it."
    )
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        default=0, description="Seed of the splits; the same for every training seed, so that runs are comparable."
    )
    limit: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="At most so many images in each split, chosen by the split seed; null for all."
    )

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, classes: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if classes is not None and (len(classes) < 2 or len(set(classes)) < len(classes)):
            raise ValueError("at least two classes are needed, each listed once")
        return classes


def load_splits(recipe: DataRecipe, *, data_dir: Path | None = None) -> ImageSplits:
    """Read a data set and split it; classes stand in every split in the same proportions.

    Args:
        recipe: what to read.
        data_dir: folder with the files of a set that is not bundled; see `idx.read_split`.

    Raises:
        DataError: the data are missing or damaged, or too few for the splits.
    """
    raw = _READERS[recipe.name](recipe, data_dir)
    keep = tuple(range(len(raw.class_names))) if recipe.classes is None else recipe.classes
    names = tuple(raw.class_names[k] for k in keep)
    rest = _of_classes(*raw.train, keep=keep)
    if raw.test is not None:
        test = _of_classes(*raw.test, keep=keep)
    else:
        rest, test = _divided(rest, recipe, "test_fraction")
    train, valid = _divided(rest, recipe, "validation_fraction")
    if recipe.limit is not None:
        if recipe.limit < len(names):
            raise DataError(
                f"data.limit is {recipe.limit}; every split needs an image of each of the {len(names)} classes, "
                f"so expected at least {len(names)}"
            )
        train, valid, test = (split.sample(recipe.limit, seed=recipe.split_seed) for split in (train, valid, test))
    return ImageSplits(recipe.name, names, train, valid, test)


def _divided(images: Images, recipe: DataRecipe, key: str) -> tuple[Images, Images]:
    """Images in two parts, the second with the fraction that the recipe has under a key."""
    fraction = getattr(recipe, key)
    try:
        return images.divide(fraction, seed=recipe.split_seed)
    except DataError as error:
        raise DataError(f"data.{key} is {fraction}: {error}") from None


@dataclass(frozen=True)
class _Raw:
    """A data set as it comes: pixels and labels of all classes, and the official test split where there is one."""

    class_names: tuple[str, ...]
    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray] | None = None


def _of_classes(pixels: np.ndarray, labels: np.ndarray, *, keep: tuple[int, ...]) -> Images:
    """The images of some classes, relabelled by their place in `keep`; bytes become fractions of 255."""
    place = np.full(int(labels.max()) + 1, -1)
    for position, label in enumerate(keep):
        if label < len(place):
            place[label] = position
    chosen = place[labels] >= 0
    pixels = pixels[chosen]
    if pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / 255
    return Images(pixels, place[labels][chosen], len(keep))


def _digits(recipe: DataRecipe, data_dir: Path | None) -> _Raw:
    from sklearn.datasets import load_digits

    bundle = load_digits()
    return _Raw(_NUMERALS, ((bundle.images / 16).astype(np.float32), bundle.target))


def _idx(source: idx.IDXSource, class_names: tuple[str, ...]) -> Callable[[DataRecipe, Path | None], _Raw]:
    def read(recipe: DataRecipe, data_dir: Path | None) -> _Raw:
        train = idx.read_split(source, "train", data_dir=data_dir)
        test = idx.read_split(source, "t10k", data_dir=data_dir)
        return _Raw(class_names, train, test)

    return read


_NUMERALS = tuple(str(digit) for digit in range(10))
_GARMENTS = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_READERS: dict[str, Callable[[DataRecipe, Path | None], _Raw]] = {
    "digits": _digits,
    "mnist": _idx(idx.MNIST, _NUMERALS),
    "fashion_mnist": _idx(idx.FASHION_MNIST, _GARMENTS),
}
