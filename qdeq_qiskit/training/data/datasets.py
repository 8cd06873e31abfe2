"""The data sets that recipes name: scikit-learn's bundled digits, MNIST, FashionMNIST, CIFAR-10, and those of users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr, field_validator, model_validator

from qdeq_qiskit.training.data import cifar10, idx
from qdeq_qiskit.training.data.array_file import read_array_file
from qdeq_qiskit.training.data.image_folder import read_image_folder
from qdeq_qiskit.training.data.images import ImageSplits
from qdeq_qiskit.training.data.whole_set import WholeSet
from qdeq_qiskit.training.errors import DataError

Fraction = Annotated[float, Field(gt=0, lt=1)]
ClassChoice = Annotated[StrictInt, Field(ge=0)] | Annotated[StrictStr, Field(min_length=1)]


class DataRecipe(BaseModel):
    """Which images, and how they are split."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Literal["digits", "mnist", "fashion_mnist", "cifar10", "image_folder", "arrays"] = Field(
        description="digits: scikit-learn's bundled 8×8 set; mnist, fashion_mnist: 28×28, and cifar10: 32×32 in gray, "
        "from a folder or by download; image_folder: PNG and JPEG files, a sub-folder for each class; arrays: an .npz "
        "file."
    )
    path: str | None = Field(
        default=None, description="The folder of image_folder, or the file of arrays; of no other set."
    )
    size: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None,
        description="Side in pixels that the pictures of image_folder are made; null to leave them as they are.",
    )
    classes: tuple[ClassChoice, ...] | None = Field(
        default=None,
        description="The classes to keep, by name or number, relabelled 0, 1, … in this order; null for all.",
    )
    validation_fraction: Fraction = Field(
        default=0.2,
        description="Share of the training images that is held out to choose the best epoch; a set with validation "
        "images of its own ignores it.",
    )
    test_fraction: Fraction = Field(
        default=0.25, description="Share of all images kept for testing; a set with test images of its own ignores it."
    )
    split_seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        default=0, description="Seed of the splits; the same for every training seed, so that runs are comparable."
    )
    limit: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="At most so many images in each split, chosen by the split seed; null for all."
    )

    @field_validator("classes")
    @classmethod
    def _classes_differ(cls, classes: tuple[int | str, ...] | None) -> tuple[int | str, ...] | None:
        if classes is not None and (len(classes) < 2 or len(set(map(str, classes))) < len(classes)):
            raise ValueError("at least two classes are needed, each listed once")
        return classes

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str | None) -> str | None:
        """So that a run is continued from anywhere."""
        return path if path is None else str(Path(path).expanduser().absolute())

    @model_validator(mode="after")
    def _keys_of_this_set(self) -> Self:
        if self.name in USERS and self.path is None:
            what = "folder, path: DIR" if self.name == "image_folder" else "file, path: FILE.npz"
            raise ValueError(f"the key 'path' is missing: {self.name} needs a {what}")
        if self.name not in USERS and self.path is not None:
            raise ValueError(f"path is for name image_folder or arrays, not for {self.name}")
        if self.name != "image_folder" and self.size is not None:
            raise ValueError(f"size is for name image_folder; the images of {self.name} have a size of their own")
        return self


USERS = ("image_folder", "arrays")


def load_splits(recipe: DataRecipe, *, data_dir: Path | None = None) -> ImageSplits:
    """Read a data set and split it; classes stand in every split in the same proportions.

    Args:
        recipe: what to read.
        data_dir: folder with the files of a set that is not bundled and has no path; see `idx.read_split` and
            `cifar10.read_cifar10`.

    Raises:
        DataError: the data are missing or damaged, or too few for the splits.
    """
    whole = _READERS[recipe.name](recipe, data_dir)
    try:
        return _chosen_splits(whole, recipe)
    except DataError as error:
        raise DataError(str(error) if recipe.path is None else f"{recipe.path}: {error}") from None


def _chosen_splits(whole: WholeSet, recipe: DataRecipe) -> ImageSplits:
    """The classes and as many images as the recipe wants, split."""
    keep = None
    if recipe.classes is not None:
        keep = tuple(_number(choice, whole.class_names, recipe.name) for choice in recipe.classes)
        if len(set(keep)) < len(keep):
            raise DataError(f"data.classes is {list(recipe.classes)}; every class is to be listed once")
    splits = whole.splits(
        recipe.name,
        keep=keep,
        validation_fraction=recipe.validation_fraction,
        test_fraction=recipe.test_fraction,
        split_seed=recipe.split_seed,
        prefix="data.",
    )
    if recipe.limit is None:
        return splits
    names = splits.class_names
    if recipe.limit < len(names):
        raise DataError(
            f"data.limit is {recipe.limit}; every split needs an image of each of the {len(names)} classes, "
            f"so expected at least {len(names)}"
        )
    train, valid, test = (
        split.sample(recipe.limit, seed=recipe.split_seed) for split in (splits.train, splits.valid, splits.test)
    )
    return ImageSplits(recipe.name, names, train, valid, test)


def _number(choice: int | str, names: Sequence[str], data: str) -> int:
    """The number of a class that is given by its name, or, where no class is named by a number, by its number."""
    if str(choice) in names:
        return names.index(str(choice))
    if isinstance(choice, int) and choice < len(names) and not any(name.isdecimal() for name in names):
        return choice
    shown = ", ".join(map(repr, names[:12])) + (", …" if len(names) > 12 else "")
    raise DataError(f"data.classes holds {choice!r}, but the classes of {data} are {shown}; null takes them all")


def _digits(recipe: DataRecipe, data_dir: Path | None) -> WholeSet:
    from sklearn.datasets import load_digits

    bundle = load_digits()
    return WholeSet(_NUMERALS, ((bundle.images / 16).astype(np.float32), bundle.target))


def _idx(source: idx.IDXSource, class_names: tuple[str, ...]) -> Callable[[DataRecipe, Path | None], WholeSet]:
    def read(recipe: DataRecipe, data_dir: Path | None) -> WholeSet:
        train = idx.read_split(source, "train", data_dir=data_dir)
        test = idx.read_split(source, "t10k", data_dir=data_dir)
        return WholeSet(class_names, train, test=test)

    return read


def _cifar10(recipe: DataRecipe, data_dir: Path | None) -> WholeSet:
    train, test = cifar10.read_cifar10(data_dir)
    return WholeSet(cifar10.NAMES, train, test=test)


def _image_folder(recipe: DataRecipe, data_dir: Path | None) -> WholeSet:
    assert recipe.path is not None
    return read_image_folder(Path(recipe.path), size=recipe.size)


def _arrays(recipe: DataRecipe, data_dir: Path | None) -> WholeSet:
    assert recipe.path is not None
    return read_array_file(Path(recipe.path))


_NUMERALS = tuple(str(digit) for digit in range(10))
_GARMENTS = ("t-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_READERS: dict[str, Callable[[DataRecipe, Path | None], WholeSet]] = {
    "digits": _digits,
    "mnist": _idx(idx.MNIST, _NUMERALS),
    "fashion_mnist": _idx(idx.FASHION_MNIST, _GARMENTS),
    "cifar10": _cifar10,
    "image_folder": _image_folder,
    "arrays": _arrays,
}
