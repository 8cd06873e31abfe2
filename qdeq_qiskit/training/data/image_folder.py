"""A folder of pictures, one sub-folder for each class: PNG and JPEG files as gray images of one size."""

from __future__ import annotations

import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qdeq_qiskit.training.data.whole_set import Part, WholeSet
from qdeq_qiskit.training.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg")
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "test": "test"}
MOST_PIXELS = 50_000_000  # of one picture, before it is made smaller
MOST_BYTES = 4 * 2**30  # of all pictures together, afterwards


def read_image_folder(folder: Path, *, size: int | None) -> WholeSet:
    """The data set in a folder.

    Pictures are turned as their EXIF orientation says, made gray (ITU-R 601-2, transparency ignored) and, with a
    `size`, squares (bilinear, averaging where they shrink). Classes are named by their sub-folders and sorted; so are
    pictures, by their path.

    Args:
        folder: with a sub-folder for each class; or with folders `train` and perhaps `valid` (or `val`) and `test`,
            each with these.
        size: side of the images in pixels; None for the size that the pictures have, all the same one.

    Raises:
        DataError: there is no such folder, or a file or a class in it cannot be used.
    """
    if not folder.is_dir():
        kind = "is a file" if folder.exists() else "there is no such folder"
        raise DataError(
            f"{folder}: {kind}; the images were to be read from a folder with one sub-folder for each class"
        )
    inside = _folders(folder)
    if "train" in [each.name for each in inside] and all(each.name in SPLITS for each in inside):
        found = {SPLITS[each.name]: each for each in reversed(inside)}  # train first
        if len(found) < len(inside):
            raise DataError(f"{folder}: has both a folder valid and a folder val; leave one")
    else:
        found = {"train": folder}
    names = tuple(each.name for each in _folders(found["train"]))
    if len(names) < 2:
        raise DataError(
            f"{found['train']}: has {len(names)} sub-folders; expected at least two, one for each class, or train/ and "
            "test/ with these"
        )
    parts = {split: _part(where, names, size) for split, where in found.items()}
    return WholeSet(names, parts["train"], parts.get("valid"), parts.get("test"))


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in _listed(folder) if each.is_dir() and not each.name.startswith("."))


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from None


def _part(folder: Path, names: tuple[str, ...], size: int | None) -> Part:
    """Pixels and labels of the pictures in a folder of classes."""
    other = next((each.name for each in _folders(folder) if each.name not in names), None)
    if other is not None:
        raise DataError(f"{folder}: has a class {other!r}, which there is nothing of to train on")
    files = [(path, label) for label, name in enumerate(names) for path in _pictures(folder / name)]
    images: list[np.ndarray] = []
    for path, _ in files:
        images.append(_read(path, size))
        if images[-1].shape != images[0].shape:
            (height, width), (first_height, first_width) = images[-1].shape, images[0].shape
            raise DataError(
                f"{path}: has {width}×{height} pixels, but {files[0][0]} has {first_width}×{first_height}; set "
                "data.size to the side that all are to be made, such as data.size=28"
            )
        if len(images) == 1 and images[0].nbytes * len(files) > MOST_BYTES:
            raise DataError(
                f"{folder}: {len(files)} images of {images[0].shape[1]}×{images[0].shape[0]} pixels do not fit into "
                f"{MOST_BYTES / 2**30:.0f} GiB; set data.size to make them smaller, such as data.size=28"
            )
    return np.stack(images), np.array([label for _, label in files])


def _pictures(folder: Path) -> list[Path]:
    """The pictures of a class, at any depth; what is none, by its name, is counted in a warning."""
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder, so that there is no image of class {folder.name!r}")
    visible = [
        path
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    chosen = [path for path in visible if path.suffix.lower() in SUFFIXES]
    if not chosen:
        raise DataError(f"{folder}: holds no PNG or JPEG file, so that there is no image of class {folder.name!r}")
    if len(chosen) < len(visible):
        first = next(path for path in visible if path not in chosen)
        warnings.warn(
            f"{folder}: {len(visible) - len(chosen)} files are no PNG or JPEG by their name and were left out, the "
            f"first is {first.name}",
            stacklevel=2,
        )
    return chosen


def _read(path: Path, size: int | None) -> np.ndarray:
    """A picture as float32 from 0 to 1, (height, width)."""
    import PIL.Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a large picture, which is refused below, or of odd metadata
        try:
            with PIL.Image.open(path, formats=("PNG", "JPEG")) as picture:
                width, height = picture.size
                if width * height > MOST_PIXELS:
                    raise DataError(_too_large(path, f"{width}×{height} pixels"))
                gray, white = _gray(_upright(picture))
                if size is not None:
                    gray = gray.resize((size, size), PIL.Image.Resampling.BILINEAR)
                return np.asarray(gray, dtype=np.float32) / white
        except PIL.UnidentifiedImageError:
            raise DataError(f"{path}: is no PNG or JPEG image, whatever its name says") from None
        except PIL.Image.DecompressionBombError:
            raise DataError(_too_large(path, "far more pixels")) from None
        except DataError:
            raise
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
        except (SyntaxError, ValueError, EOFError) as error:
            raise DataError(f"{path}: is damaged: {error}") from None


def _upright(picture: Image) -> Image:
    """A picture as viewers show it: cameras note how they were held."""
    import PIL.ImageOps

    try:
        return PIL.ImageOps.exif_transpose(picture)
    except (KeyError, SyntaxError, TypeError, ValueError, struct.error):  # odd metadata, which viewers ignore
        return picture


def _gray(picture: Image) -> tuple[Image, float]:
    """A picture in gray, and which of its numbers is white."""
    if picture.mode.startswith("I"):  # 16 bits, which would be clipped
        return picture.convert("F"), 65535.0
    return picture.convert("L"), 255.0


def _too_large(path: Path, size: str) -> str:
    return f"{path}: has {size}; at most {MOST_PIXELS:,} are read, so make it smaller first"
