"""CIFAR-10 in gray: made once from the archive of its authors, kept as a quarter of its size, and never unchecked.

The archive is the binary version, which holds bytes and nothing that could be executed. What is kept is an .npz file of
images, each pixel minus the one above it, then minus the one to the left, modulo 256, which compresses better.
Source: https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qdeq_qiskit.files import remove_unfinished, write_atomically
from qdeq_qiskit.training.data.array_file import read_arrays
from qdeq_qiskit.training.data.cifar_archive import SIDE, read_archive
from qdeq_qiskit.training.data.published import cache_dir, check, chosen_folder, download, found_in
from qdeq_qiskit.training.data.whole_set import Part
from qdeq_qiskit.training.errors import DataError

ARCHIVE = "cifar-10-binary.tar.gz"
GRAY = "cifar10_gray32.npz"
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@dataclass(frozen=True)
class CIFARSource:
    """Where the data set comes from, and what becomes of it.

    Attributes:
        checksum: SHA-256 of the archive.
        size: of the archive, in bytes.
        mirrors: addresses of folders that hold it, tried in this order.
        batch_images: images in each of its six files.
        gray_checksums: SHA-256 of the gray images and of the labels of "train" and "test", uint8, image by image and
            row by row.
    """

    checksum: str
    size: int
    mirrors: tuple[str, ...]
    batch_images: int
    gray_checksums: Mapping[str, str]


CIFAR10 = CIFARSource(
    checksum="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    size=170_052_171,
    mirrors=(
        "https://www.cs.toronto.edu/~kriz/",
        "https://cave.cs.toronto.edu/kriz/",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/",
    ),
    batch_images=10_000,
    gray_checksums={
        "train_images": "f346c5f19e1cde45025299d0b5224a35d90eebcae6b08126508785ecb7953bcb",
        "train_labels": "2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        "test_images": "da6570c8fc30598084b7026f0db9189359f487774fe45dee03ff80287878c887",
        "test_labels": "cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
    },
)


def read_cifar10(data_dir: Path | None = None, *, source: CIFARSource = CIFAR10) -> tuple[Part, Part]:
    """Gray images (N, 32, 32) and labels (N,), unsigned bytes, to train and to test with.

    Args:
        data_dir: folder with the gray file or the archive, themselves or in a sub-folder `cifar10`. An archive is
            made a gray file beside it. None: the folder that the environment variable `QDEQ_DATA_DIR` names; and
            where that is unset, a cache folder that the archive is downloaded into, and removed from afterwards.
        source: what to read.

    Raises:
        DataError: the files are missing, cannot be downloaded, are truncated or altered, or hold something else.
    """
    chosen = chosen_folder(data_dir)
    if chosen is None:
        path = cache_dir() / "cifar10" / GRAY
        return _read(path, source) if path.is_file() else _fetched(path, source)
    path = found_in(chosen, "cifar10", (GRAY, ARCHIVE))
    if path.name == GRAY:
        return _read(path, source)
    gray = _converted(path, source)
    try:
        _write(gray, path.with_name(GRAY))
    except OSError as error:
        warnings.warn(f"{error}; CIFAR-10 is made gray anew each time", stacklevel=2)
    return _parts(gray)


def _fetched(path: Path, source: CIFARSource) -> tuple[Part, Part]:
    """Download the archive, unless it is there already, and put what becomes of it into `path`."""
    archive = path.with_name(ARCHIVE)
    with _alone_in(path.parent):
        if path.is_file():  # of another process, which this one has waited for
            return _read(path, source)
        remove_unfinished(path.parent)
        if not archive.is_file():
            warnings.warn(
                f"CIFAR-10 is being downloaded, {source.size / 1e6:,.0f} MB, this once; it will be kept in {path}",
                stacklevel=3,
            )
            download(
                ARCHIVE,
                data_set="cifar10",
                checksum=source.checksum,
                mirrors=source.mirrors,
                path=archive,
                most_bytes=source.size,
            )
        gray = _converted(archive, source)
        try:
            _write(gray, path)
        except OSError as error:
            raise DataError(str(error)) from None
        archive.unlink(missing_ok=True)
    return _parts(gray)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """So that the processes of a study do not each download the archive."""
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", thread_local=False)
        lock.acquire()
    except OSError as error:
        raise DataError(f"{folder}: cannot be written into: {error.strerror or error}") from None
    try:
        yield
    finally:
        lock.release()


def _converted(archive: Path, source: CIFARSource) -> dict[str, np.ndarray]:
    """The gray images and the labels of an archive whose checksum is right."""
    check(archive, source.checksum)
    gray = read_archive(archive, batch_images=source.batch_images)
    _check_arrays(gray, archive, source)
    return gray


def _write(gray: Mapping[str, np.ndarray], path: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        train_images_d2=_differences(gray["train_images"]),
        train_labels=gray["train_labels"],
        test_images_d2=_differences(gray["test_images"]),
        test_labels=gray["test_labels"],
    )
    write_atomically(path, buffer.getvalue())


def _read(path: Path, source: CIFARSource) -> tuple[Part, Part]:
    arrays = read_arrays(path)
    gray = {}
    for key in source.gray_checksums:
        stored = f"{key}_d2" if key.endswith("images") else key
        batches = 5 if key.startswith("train") else 1
        shape = (batches * source.batch_images, SIDE, SIDE)[: 3 if key.endswith("images") else 1]
        array = arrays.get(stored)
        if array is None or array.dtype != np.uint8 or array.shape != shape:
            found = "is missing" if array is None else f"has type {array.dtype} and shape {array.shape}"
            raise DataError(f"{path}: {stored} {found}; expected unsigned bytes of shape {shape}")
        gray[key] = _sums(array) if key.endswith("images") else array
    _check_arrays(gray, path, source)
    return _parts(gray)


def _check_arrays(gray: Mapping[str, np.ndarray], path: Path, source: CIFARSource) -> None:
    for key, checksum in source.gray_checksums.items():
        found = hashlib.sha256(np.ascontiguousarray(gray[key]).data).hexdigest()
        if found != checksum:
            raise DataError(
                f"{path}: is truncated or altered: SHA-256 of {key.replace('_', ' ')} is {found}, expected {checksum}; "
                "delete it and fetch it again"
            )


def _parts(gray: Mapping[str, np.ndarray]) -> tuple[Part, Part]:
    return (gray["train_images"], gray["train_labels"]), (gray["test_images"], gray["test_labels"])


def _differences(images: np.ndarray) -> np.ndarray:
    """Each pixel minus the one above it, then minus the one to the left, modulo 256."""
    down = np.diff(images, axis=1, prepend=np.uint8(0))
    return np.diff(down, axis=2, prepend=np.uint8(0))


def _sums(differences: np.ndarray) -> np.ndarray:
    """What `_differences` was made of."""
    return np.cumsum(np.cumsum(differences, axis=1, dtype=np.uint8), axis=2, dtype=np.uint8)
