"""Images and labels in an .npz file, read without executing anything that it may hold."""

from __future__ import annotations

import errno
import io
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.training.data.images import ImageSplits
from qdeq_qiskit.training.data.whole_set import WholeSet
from qdeq_qiskit.training.errors import DataError

KEYS = ("images", "labels", "valid_images", "valid_labels", "test_images", "test_labels", "class_names")
MAX_BYTES = 8 * 2**30


def read_array_file(path: Path) -> WholeSet:
    """The data set in a file.

    Args:
        path: an .npz file with `images` and `labels`, as `ImageSplits.from_arrays` takes them, and perhaps
            `valid_images` and `valid_labels`, `test_images` and `test_labels`, `class_names`.

    Raises:
        DataError: the file is missing, damaged, holds Python objects or other arrays, or they cannot be used.
    """
    arrays = read_arrays(path)
    unknown = sorted(set(arrays) - set(KEYS))
    missing = [key for key in KEYS[:2] if key not in arrays]
    for split in ("valid", "test"):
        pair = (f"{split}_images", f"{split}_labels")
        missing += [key for key in pair if key not in arrays and any(other in arrays for other in pair)]
    if unknown or missing:
        what = f"there is no {missing[0]!r} in it" if missing else f"it holds {unknown[0]!r}, which means nothing here"
        raise DataError(f"{path}: {what}; expected images and labels, and perhaps {', '.join(KEYS[2:])}")
    parts = {
        split: (arrays[f"{prefix}images"], arrays[f"{prefix}labels"]) if f"{prefix}images" in arrays else None
        for split, prefix in (("train", ""), ("valid", "valid_"), ("test", "test_"))
    }
    sources = {split: str(path) if split == "train" else f"{path} ({split}_images)" for split in parts}
    names = arrays.get("class_names")
    if names is not None and names.ndim != 1:
        raise DataError(f"{path}: class_names have shape {names.shape}; expected one name for each class")
    return WholeSet.of(parts, None if names is None else names.tolist(), sources=sources)


def save_splits(splits: ImageSplits, path: Path) -> None:
    """Write splits into a file, complete or not at all.

    Raises:
        DataError: it cannot be written, or pixels lie outside of 0 … 1, so that it could not be read back.
    """
    for split, part in (("train", splits.train), ("valid", splits.valid), ("test", splits.test)):
        if part.pixels.min() < 0 or part.pixels.max() > 1:
            raise DataError(
                f"{path}: pixels of the {split} split lie between {part.pixels.min():g} and {part.pixels.max():g}; "
                "expected 0 … 1"
            )
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        images=splits.train.pixels,
        labels=splits.train.labels,
        valid_images=splits.valid.pixels,
        valid_labels=splits.valid.labels,
        test_images=splits.test.pixels,
        test_labels=splits.test.labels,
        class_names=np.array(splits.class_names),
    )
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None


def read_arrays(path: Path) -> dict[str, Any]:
    """All arrays of an .npz file.

    Raises:
        DataError: the file is missing or damaged, too large, or holds Python objects.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a folder; expected an .npz file (for a folder of images: data.name=image_folder)")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; the arrays were to be read from it")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:
            raise DataError(f"{path}: holds {size:,} bytes; at most {MAX_BYTES:,} are read")
        with np.load(path, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    except DataError:
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:  # which is what a wrong place in a damaged archive ends in
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
        raise DataError(f"{path}: is not a whole .npz file, as numpy.savez writes it") from None
    except MemoryError:
        raise DataError(f"{path}: holds, or says it holds, an array that does not fit into memory") from None
    except ValueError as error:
        if "allow_pickle" in str(error) or "Object arrays" in str(error):
            raise DataError(
                f"{path}: holds Python objects, which are never loaded; save arrays of numbers (and names, as strings)"
            ) from None
        raise DataError(f"{path}: is damaged: {str(error).splitlines()[0]}") from None
    except _DAMAGED as error:
        raise DataError(f"{path}: is not a whole .npz file, as numpy.savez writes it: {error}") from None


# What reading a damaged archive, and the headers in it, has been seen to end in.
_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    tokenize.TokenError,
)
