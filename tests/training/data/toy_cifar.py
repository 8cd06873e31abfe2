"""CIFAR-10 in small: twelve images in the six files of an archive like the authors'."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from qdeq_qiskit.training.data.cifar10 import CIFARSource

FOLDER = "cifar-10-batches-bin"
FILES = (*(f"{FOLDER}/data_batch_{k}.bin" for k in range(1, 6)), f"{FOLDER}/test_batch.bin")
IMAGES = 2  # in each file
COLOURS = np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
"""The images, the last two of them to test with; image k has label k mod 10."""


def batches() -> dict[str, bytes]:
    """The files in the archive."""
    records = [bytes([k % 10]) + image.transpose(2, 0, 1).tobytes() for k, image in enumerate(COLOURS)]
    return {name: b"".join(records[IMAGES * k : IMAGES * (k + 1)]) for k, name in enumerate(FILES)}


def by_pillow(colours: np.ndarray) -> np.ndarray:
    return np.stack([np.asarray(PIL.Image.fromarray(image).convert("L")) for image in colours])


def archive_of(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def members_of(files: dict[str, bytes]) -> list[tuple[tarfile.TarInfo, bytes]]:
    """As the authors' archive is: a folder, a file of text, the six files, in no order."""
    folder = tarfile.TarInfo(FOLDER)
    folder.type = tarfile.DIRTYPE
    files = {f"{FOLDER}/batches.meta.txt": b"airplane\n", **dict(reversed(files.items()))}
    return [(folder, b""), *((info_of(name, len(content)), content) for name, content in files.items())]


def info_of(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info


def source_of(content: bytes, mirrors: tuple[str, ...] = ()) -> CIFARSource:
    gray, labels = by_pillow(COLOURS), (np.arange(12) % 10).astype(np.uint8)
    arrays = {
        "train_images": gray[:10],
        "train_labels": labels[:10],
        "test_images": gray[10:],
        "test_labels": labels[10:],
    }
    checksums = {key: hashlib.sha256(array.tobytes()).hexdigest() for key, array in arrays.items()}
    return CIFARSource(hashlib.sha256(content).hexdigest(), len(content), mirrors, IMAGES, checksums)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def check_toy(parts: Any) -> None:
    (train, train_labels), (test, test_labels) = parts
    np.testing.assert_array_equal(np.concatenate([train, test]), by_pillow(COLOURS))
    np.testing.assert_array_equal(np.concatenate([train_labels, test_labels]), np.arange(12) % 10)
