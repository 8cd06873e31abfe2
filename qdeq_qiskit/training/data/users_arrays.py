"""Images, labels and data sets of users, as the library has them: checked, and each error in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from qdeq_qiskit.training.errors import DataError

ROUNDING = 1e-5


def as_array(values: Any, *, source: str, noun: str) -> np.ndarray:
    """Numbers, or names, as an array of one type.

    Args:
        values: an array, a tensor, or a sequence of equal ones.
        source: where they are from, for errors.
        noun: what they are, for errors ("images").

    Raises:
        DataError: they are of unequal shapes, or no numbers and no names.
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu().numpy()
    elif (
        isinstance(values, Sequence) and not isinstance(values, str) and any(hasattr(each, "shape") for each in values)
    ):
        values = [as_array(each, source=source, noun=noun) for each in values]
        _check_equal_shapes(values, source, noun)
    try:
        array = np.asarray(values)
        if array.dtype == object:
            parts = [np.asarray(each) for each in array]
            _check_equal_shapes(parts, source, noun)
            array = np.stack(parts) if parts else array
    except ValueError:
        raise DataError(f"{source}: {noun} are of unequal sizes, and cannot be one array; make them equal") from None
    if array.dtype.kind not in "biufU":
        raise DataError(f"{source}: {noun} are of type {array.dtype}; expected numbers")
    return array


def as_pixels(images: Any, *, source: str) -> np.ndarray:
    """Images as float32 from 0 to 1, (N, height, width).

    Args:
        images: (N, height, width), or with one channel, (N, 1, height, width) or (N, height, width, 1). Unsigned bytes
            are divided by 255; other numbers must lie in 0 … 1.
        source: where they are from, for errors.

    Raises:
        DataError: they are anything else.
    """
    pixels = as_array(images, source=source, noun="images")
    if pixels.dtype.kind == "U":
        raise DataError(f"{source}: images are words; expected numbers")
    if pixels.ndim == 4 and 1 in (pixels.shape[1], pixels.shape[3]):
        pixels = pixels[:, 0] if pixels.shape[1] == 1 else pixels[..., 0]
    if pixels.ndim != 3 or not all(pixels.shape[1:]):
        raise DataError(f"{source}: images have shape {pixels.shape}; {_expected_shape(pixels.shape)}")
    if not len(pixels):
        raise DataError(f"{source}: there are no images")
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32) / 255
    bad = np.flatnonzero(~np.isfinite(pixels).all(axis=(1, 2)))
    if len(bad):
        raise DataError(f"{source}: {len(bad)} images have NaN or infinite pixels, the first is image {bad[0]}")
    low, high = pixels.min(), pixels.max()
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise DataError(
            f"{source}: pixels lie between {low:g} and {high:g}, as {pixels.dtype}; expected 0 … 1 (or unsigned "
            "bytes), so divide them by what stands for white"
        )
    return pixels.astype(np.float32)


def as_classes(labels: Any, class_names: Sequence[str], *, source: str) -> np.ndarray:
    """Labels as numbers of classes, (N,): names among `class_names`, or numbers from 0.

    Raises:
        DataError: a label is none of them.
    """
    given = _as_labels(labels, source)
    if given.dtype.kind == "U":
        place = {name: number for number, name in enumerate(class_names)}
        unknown = next((row for row, name in enumerate(given) if name not in place), None)
        if unknown is not None:
            raise DataError(
                f"{source}: image {unknown} is of class {str(given[unknown])!r}; the classes are "
                f"{', '.join(map(repr, class_names))}"
            )
        return np.array([place[name] for name in given], dtype=np.int64)
    outside = np.flatnonzero((given < 0) | (given >= len(class_names)))
    if len(outside):
        raise DataError(
            f"{source}: image {outside[0]} has label {given[outside[0]]}; with {len(class_names)} classes, labels are "
            f"0 to {len(class_names) - 1} ({len(outside)} images are outside)"
        )
    return given.astype(np.int64)


def as_names(labels: Any, *, source: str) -> tuple[tuple[str, ...], np.ndarray]:
    """The classes that occur among labels, sorted, by name; and each label's name, (N,)."""
    given = _as_labels(labels, source)
    return tuple(str(value) for value in np.unique(given)), given.astype(str)


def stacked(dataset: Any, *, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of a map-style dataset of (input, label) pairs, in memory.

    Raises:
        DataError: it is something else, holds nothing, or its inputs are of unequal shapes.
    """
    if isinstance(dataset, torch.utils.data.DataLoader):
        raise DataError(f"{source}: is a DataLoader; give its dataset: batches are made here")
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise DataError(
            f"{source}: is of type {type(dataset).__name__}; expected (inputs, labels), or a dataset with len() and "
            "[...] of (input, label) pairs"
        )
    inputs, labels = [], []
    for row in range(len(dataset)):
        pair = dataset[row]
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DataError(f"{source}: sample {row} is of type {type(pair).__name__}; expected (input, label)")
        inputs.append(as_array(pair[0], source=f"{source}: sample {row}", noun="values"))
        labels.append(pair[1].item() if getattr(pair[1], "ndim", 1) == 0 else pair[1])
    if not inputs:
        raise DataError(f"{source}: there are no samples")
    _check_equal_shapes(inputs, source, "inputs")
    return np.stack(inputs), as_array(labels, source=source, noun="labels")


def _as_labels(labels: Any, source: str) -> np.ndarray:
    given = as_array(labels, source=source, noun="labels")
    if given.ndim != 1:
        raise DataError(f"{source}: labels have shape {given.shape}; expected one for each image")
    if given.dtype.kind not in "iuU":
        raise DataError(f"{source}: labels are of type {given.dtype}; expected whole numbers or names")
    return given


def _check_equal_shapes(arrays: Sequence[np.ndarray], source: str, noun: str) -> None:
    other = next((row for row, array in enumerate(arrays) if array.shape != arrays[0].shape), None)
    if other is not None:
        raise DataError(
            f"{source}: {noun} are of unequal sizes: the first has shape {arrays[0].shape}, number {other} has "
            f"{arrays[other].shape}; make them equal"
        )


def _expected_shape(shape: tuple[int, ...]) -> str:
    if len(shape) == 4 and (shape[1] in (3, 4) or shape[3] in (3, 4)):
        channels = 1 if shape[1] in (3, 4) else 3
        return f"they are colour images, expected gray ones: (images, height, width), as images.mean({channels}) has it"
    if len(shape) == 2:
        return (
            "expected (images, height, width): reshape them, or, where rows are no images, take "
            "qdeq_qiskit.sklearn.EquilibriumClassifier"
        )
    return "expected (images, height, width)"
