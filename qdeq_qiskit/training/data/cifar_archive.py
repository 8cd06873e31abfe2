"""The archive that CIFAR-10 is published as, read without extracting it.

A gzip-compressed tar file with six files of records: a byte for the label, then the pixels of red, green and blue, each
row by row. Source: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from pathlib import Path
from typing import final

import numpy as np

from qdeq_qiskit.training.errors import DataError

SIDE = 32
CLASSES = 10
TRAIN = tuple(f"cifar-10-batches-bin/data_batch_{number}.bin" for number in range(1, 6))
TEST = "cifar-10-batches-bin/test_batch.bin"
_PIXELS = SIDE * SIDE
_SPARE_BYTES = 2**20  # for headers and the two small files of text that are not read


def read_archive(path: Path, *, batch_images: int) -> dict[str, np.ndarray]:
    """Its images in gray, and their labels.

    Args:
        path: the archive.
        batch_images: images in each of its files.

    Returns:
        Unsigned bytes by name: train_images (5·batch_images, 32, 32), train_labels (5·batch_images,), test_images,
        test_labels.

    Raises:
        DataError: it is damaged, or holds something else than it should.
    """
    size = batch_images * (1 + 3 * _PIXELS)
    wanted = (*TRAIN, TEST)
    batches: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    try:
        with gzip.open(path) as content, tarfile.open(fileobj=_Bounded(content, path, size), mode="r|") as archive:
            for member in archive:
                if member.size > size + _SPARE_BYTES:  # passing over it could take forever, whatever the file's length
                    raise DataError(f"{path}: {member.name} has {member.size:,} bytes; no file in it is that long")
                if member.name not in wanted:
                    continue
                if not member.isreg() or member.size != size or member.name in batches:
                    raise DataError(f"{path}: {_oddity(member, size)}")
                file = archive.extractfile(member)
                assert file is not None  # of a regular file
                batches[member.name] = _batch(file.read(), f"{path}: {member.name}")
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: is not a complete gzip-compressed tar file: {error}") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    missing = next((name for name in wanted if name not in batches), None)
    if missing is not None:
        raise DataError(f"{path}: there is no {missing} in it")
    return {
        "train_images": np.concatenate([batches[name][0] for name in TRAIN]),
        "train_labels": np.concatenate([batches[name][1] for name in TRAIN]),
        "test_images": batches[TEST][0],
        "test_labels": batches[TEST][1],
    }


def luma(rgb: np.ndarray) -> np.ndarray:
    """Gray of colours, ITU-R BT.601, in the whole numbers of Pillow's `convert("L")`.

    Args:
        rgb: (N, 3, height, width), unsigned bytes.

    Returns:
        (N, height, width), unsigned bytes.
    """
    red, green, blue = (rgb[:, channel].astype(np.uint32) for channel in range(3))
    return ((19595 * red + 38470 * green + 7471 * blue + 32768) >> 16).astype(np.uint8)


@final
class _Bounded(io.BufferedIOBase):
    """What a file expands to, which is refused where it is more than an archive of such batches can hold."""

    def __init__(self, content: gzip.GzipFile, path: Path, size: int) -> None:
        self._content = content
        self._path = path
        self._left = 6 * size + _SPARE_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        most = self._left + 1
        data = self._content.read(most if size is None or size < 0 else min(size, most))
        self._left -= len(data)
        if self._left < 0:
            raise DataError(f"{self._path}: holds more than the six files of CIFAR-10; it is not read to its end")
        return data


def _oddity(member: tarfile.TarInfo, size: int) -> str:
    if not member.isreg():
        return f"{member.name} is a link, a folder or a device; expected a file"
    if member.size != size:
        return f"{member.name} has {member.size:,} bytes; expected {size:,}"
    return f"{member.name} is in it twice"


def _batch(content: bytes, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Gray images and labels of a file of records."""
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, 1 + 3 * _PIXELS)
    labels = records[:, 0].copy()
    if labels.max() >= CLASSES:
        place = int(labels.argmax())
        raise DataError(f"{source}: image {place} has label {labels[place]}; labels are 0 to {CLASSES - 1}")
    return luma(records[:, 1:].reshape(-1, 3, SIDE, SIDE)), labels
