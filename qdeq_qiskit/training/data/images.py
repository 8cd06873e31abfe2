"""Labelled images in memory, and the three splits of a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qdeq_qiskit.training.errors import DataError


@dataclass(frozen=True)
class Images:
    """Images and their labels.

    Args:
        pixels: (N, height, width), float32 in any finite range (the shipped sets: 0 to 1).
        labels: (N,), integers in 0 … num_classes − 1.
        num_classes: how many classes there are.

    Raises:
        DataError: shapes that do not fit, a pixel that is not finite, a label out of range, or no image at all.
    """

    pixels: np.ndarray
    labels: np.ndarray
    num_classes: int

    def __post_init__(self) -> None:
        pixels, labels = _float32(self.pixels), np.asarray(self.labels)
        if pixels.ndim != 3:
            raise DataError(f"pixels have shape {pixels.shape}; expected (images, height, width)")
        if labels.shape != (len(pixels),):
            raise DataError(f"{len(pixels)} images have labels of shape {labels.shape}; expected ({len(pixels)},)")
        if not len(pixels):
            raise DataError("there are no images")
        if not np.isfinite(pixels).all():
            bad = np.flatnonzero(~np.isfinite(pixels).all(axis=(1, 2)))
            raise DataError(f"{len(bad)} images have NaN or infinite pixels, the first is image {bad[0]}")
        if not np.issubdtype(labels.dtype, np.integer):
            raise DataError(f"labels have dtype {labels.dtype}; expected integers")
        outside = np.flatnonzero((labels < 0) | (labels >= self.num_classes))
        if len(outside):
            raise DataError(
                f"image {outside[0]} has label {labels[outside[0]]}; with {self.num_classes} classes, labels are "
                f"0 to {self.num_classes - 1} ({len(outside)} images are outside)"
            )
        object.__setattr__(self, "pixels", pixels)
        object.__setattr__(self, "labels", labels.astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def digest(self) -> str:
        """SHA-256 of shape, pixels and labels, the same on every machine."""
        content = hashlib.sha256(repr(self.pixels.shape).encode())
        content.update(np.ascontiguousarray(self.pixels, dtype="<f4").data)
        content.update(np.ascontiguousarray(self.labels, dtype="<i8").data)
        return content.hexdigest()

    def take(self, rows: np.ndarray) -> Images:
        """The images of these rows, in this order."""
        return Images(self.pixels[rows], self.labels[rows], self.num_classes)

    def sample(self, count: int, *, seed: int) -> Images:
        """`count` images, the same for the same seed; all if there are fewer.

        The classes stand in their proportions, unless the sample or the rest is too small for one image of each.
        """
        if count >= len(self):
            return self
        try:
            return self.divide(count, seed=seed)[1]
        except DataError:
            rows = np.random.default_rng(seed).choice(len(self), size=count, replace=False)
            return self.take(np.sort(rows))

    def divide(self, size: int | float, *, seed: int) -> tuple[Images, Images]:
        """Two parts with the classes in the same proportions; the second has `size` images, or that fraction of them.

        Raises:
            DataError: a part would be too small to hold every class.
        """
        from sklearn.model_selection import train_test_split

        try:
            first, second = train_test_split(
                np.arange(len(self)), test_size=size, stratify=self.labels, random_state=seed
            )
        except ValueError:
            counts = np.bincount(self.labels, minlength=self.num_classes).tolist()
            raise DataError(
                f"{len(self)} images ({counts} per class) cannot be split with {size} in the second part: "
                "both parts need an image of every class"
            ) from None
        return self.take(np.sort(first)), self.take(np.sort(second))


def _float32(pixels: Any) -> np.ndarray:
    try:
        return np.asarray(pixels, dtype=np.float32)
    except (ValueError, TypeError) as error:
        raise DataError(f"pixels cannot be made one array of numbers: {error}") from None


@dataclass(frozen=True)
class ImageSplits:
    """A data set as training wants it.

    Attributes:
        name: the data set's name.
        class_names: what each label stands for.
        train, valid, test: the three splits.
    """

    name: str
    class_names: tuple[str, ...]
    train: Images
    valid: Images
    test: Images

    def __post_init__(self) -> None:
        for split in ("train", "valid", "test"):
            images: Images = getattr(self, split)
            missing = np.setdiff1d(np.arange(len(self.class_names)), images.labels)
            if len(missing):
                raise DataError(f"{self.name}: the {split} split has no image of class {self.class_names[missing[0]]}")

    @classmethod
    def from_arrays(
        cls,
        images: Any,
        labels: Any,
        *,
        valid: tuple[Any, Any] | None = None,
        test: tuple[Any, Any] | None = None,
        class_names: Sequence[str] | None = None,
        validation_fraction: float = 0.2,
        test_fraction: float = 0.25,
        split_seed: int = 0,
        name: str = "arrays",
    ) -> ImageSplits:
        """The splits of images in memory.

        Args:
            images: arrays or tensors, (N, height, width), or with one channel: unsigned bytes, or numbers in 0 … 1.
            labels: (N,): whole numbers or names.
            valid: images and labels to choose the best epoch with; None for a share of `images`.
            test: images and labels to test with; None for a share of `images`.
            class_names: what labels 0, 1, … stand for; None for the labels themselves, sorted.
            validation_fraction: that share, of what is not for testing.
            test_fraction: that share.
            split_seed: of the shares.
            name: what the data set is called.

        Raises:
            DataError: something about the data; the message says what, and where.
        """
        from qdeq_qiskit.training.data.whole_set import WholeSet

        parts = {"train": (images, labels), "valid": valid, "test": test}
        sources = {split: name if split == "train" else f"{name} ({split})" for split in parts}
        whole = WholeSet.of(parts, class_names, sources=sources)
        return whole.splits(
            name, validation_fraction=validation_fraction, test_fraction=test_fraction, split_seed=split_seed
        )

    @classmethod
    def from_dataset(
        cls,
        dataset: Any,
        *,
        valid: Any = None,
        test: Any = None,
        class_names: Sequence[str] | None = None,
        validation_fraction: float = 0.2,
        test_fraction: float = 0.25,
        split_seed: int = 0,
        name: str | None = None,
    ) -> ImageSplits:
        """The splits of map-style torch datasets of (image, label) pairs, read into memory.

        Args:
            dataset: what to train on, and to cut the splits from that are None.
            valid: to choose the best epoch with.
            test: to test with.
            class_names: as for `from_arrays`; None for the dataset's own `classes`, if it has them.
            validation_fraction: as for `from_arrays`.
            test_fraction: the same.
            split_seed: the same.
            name: what the data set is called; None for the type of `dataset`.

        Raises:
            DataError: something about the data; the message says what, and where.
        """
        from qdeq_qiskit.training.data.users_arrays import stacked

        name = name or type(dataset).__name__
        return cls.from_arrays(
            *stacked(dataset, source=name),
            valid=None if valid is None else stacked(valid, source=f"{name} (valid)"),
            test=None if test is None else stacked(test, source=f"{name} (test)"),
            class_names=getattr(dataset, "classes", None) if class_names is None else class_names,
            validation_fraction=validation_fraction,
            test_fraction=test_fraction,
            split_seed=split_seed,
            name=name,
        )

    def save(self, path: str | Path) -> None:
        """Write an .npz file that the recipe `data: {name: arrays, path: ...}` reads back as these very splits."""
        from qdeq_qiskit.training.data.array_file import save_splits

        save_splits(self, Path(path))

    def fingerprint(self) -> dict[str, str]:
        """SHA-256 of each split's shape, pixels and labels, in their order: equal where training sees the same data."""
        return {split: getattr(self, split).digest() for split in ("train", "valid", "test")}
