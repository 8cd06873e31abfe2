"""A data set as it comes, before some of its classes are chosen and what it lacks in splits is cut from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from qdeq_qiskit.training.data.images import Images, ImageSplits
from qdeq_qiskit.training.data.users_arrays import as_classes, as_names, as_pixels
from qdeq_qiskit.training.errors import DataError

Part = tuple[np.ndarray, np.ndarray]
"""Pixels, (N, height, width), and labels, (N,)."""


@dataclass(frozen=True)
class WholeSet:
    """All classes of a data set, with the splits that it brings itself.

    Attributes:
        class_names: what each label stands for.
        train: pixels and labels to train on, and to cut what is None from.
        valid: those to choose the best epoch with.
        test: those to test with.
    """

    class_names: tuple[str, ...]
    train: Part
    valid: Part | None = None
    test: Part | None = None

    @classmethod
    def of(
        cls, parts: dict[str, tuple[Any, Any] | None], class_names: Sequence[str] | None, *, sources: dict[str, str]
    ) -> Self:
        """Check users' arrays.

        Args:
            parts: images and labels of "train", and of "valid" and "test" or None.
            class_names: what labels 0, 1, … stand for; None for the labels of "train" themselves, sorted.
            sources: what errors call each part.

        Raises:
            DataError: they cannot be used.
        """
        train = parts["train"]
        assert train is not None
        names = as_names(train[1], source=sources["train"])[0] if class_names is None else tuple(map(str, class_names))
        if len(names) < 2 or len(set(names)) < len(names):
            raise DataError(
                f"{sources['train']}: the classes are {', '.join(map(repr, names)) or 'none'}; expected at least two "
                "different ones"
            )
        checked: dict[str, Part | None] = {"valid": None, "test": None}
        for split, part in parts.items():
            if part is not None:
                checked[split] = _checked(part, names, sources[split], named=class_names is None)
        shapes = {split: part[0].shape[1:] for split, part in checked.items() if part is not None}
        for split, shape in shapes.items():
            if shape != shapes["train"]:
                raise DataError(
                    f"{sources[split]}: images have {shape[0]}×{shape[1]} pixels, those of the training set "
                    f"{shapes['train'][0]}×{shapes['train'][1]}; make them equal"
                )
        assert checked["train"] is not None
        return cls(names, checked["train"], checked["valid"], checked["test"])

    def splits(
        self,
        name: str,
        *,
        keep: tuple[int, ...] | None = None,
        validation_fraction: float,
        test_fraction: float,
        split_seed: int,
        prefix: str = "",
    ) -> ImageSplits:
        """The three splits; classes stand in those that are cut here in the same proportions.

        Args:
            name: the data set's name.
            keep: the classes to keep, relabelled in this order; None for all.
            validation_fraction: share of the training images, unless there are validation images.
            test_fraction: share of all, unless there are test images.
            split_seed: of the cuts.
            prefix: of the names of these arguments in errors.

        Raises:
            DataError: there are too few images.
        """
        keep = tuple(range(len(self.class_names))) if keep is None else keep
        rest, valid, test = (
            None if part is None else _of_classes(*part, keep=keep) for part in (self.train, self.valid, self.test)
        )
        assert rest is not None
        if test is None:
            rest, test = _divided(rest, test_fraction, split_seed, f"{prefix}test_fraction")
        if valid is None:
            rest, valid = _divided(rest, validation_fraction, split_seed, f"{prefix}validation_fraction")
        return ImageSplits(name, tuple(self.class_names[k] for k in keep), rest, valid, test)


def _checked(part: tuple[Any, Any], names: tuple[str, ...], source: str, *, named: bool) -> Part:
    """A user's part; its labels are numbers of `names`, or, if `named`, what these were made of."""
    pixels = as_pixels(part[0], source=source)
    classes = as_classes(as_names(part[1], source=source)[1] if named else part[1], names, source=source)
    if len(classes) != len(pixels):
        raise DataError(f"{source}: {len(pixels)} images have {len(classes)} labels; expected one for each")
    return pixels, classes


def _of_classes(pixels: np.ndarray, labels: np.ndarray, *, keep: tuple[int, ...]) -> Images:
    """The images of some classes, relabelled by their place in `keep`; bytes become fractions of 255."""
    place = np.full(int(max(labels.max(), *keep)) + 1, -1)
    place[list(keep)] = np.arange(len(keep))
    chosen = place[labels] >= 0
    pixels = pixels[chosen]
    if pixels.dtype == np.uint8:
        pixels = pixels.astype(np.float32) / 255
    return Images(pixels, place[labels][chosen], len(keep))


def _divided(images: Images, fraction: float, seed: int, key: str) -> tuple[Images, Images]:
    """Images in two parts, the second with a fraction of them, which errors call `key`."""
    try:
        return images.divide(fraction, seed=seed)
    except DataError as error:
        raise DataError(f"{key} is {fraction}: {error}") from None
