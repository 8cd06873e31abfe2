"""MNIST and FashionMNIST: their four IDX files, from a local folder or from a mirror, and never unchecked.

The format (big-endian): two zero bytes, a type byte (8: unsigned bytes), the number of axes, the axes' sizes as
32-bit integers, then the values. Source: https://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qdeq_qiskit.training.data.published import cache_dir, check, chosen_folder, download, found_in
from qdeq_qiskit.training.errors import DataError


@dataclass(frozen=True)
class IDXSource:
    """Where one data set's files come from.

    Attributes:
        name: also the sub-folder that they are kept in.
        checksums: SHA-256 of each file, by its name.
        mirrors: addresses of folders, tried in this order.
    """

    name: str
    checksums: Mapping[str, str]
    mirrors: tuple[str, ...]


MNIST = IDXSource(
    name="mnist",
    checksums={
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
)

FASHION_MNIST = IDXSource(
    name="fashion_mnist",
    checksums={
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    mirrors=(
        "https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
)


def read_split(source: IDXSource, split: str, *, data_dir: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 28, 28) and labels (N,), unsigned bytes, of `split` ("train" or "t10k").

    Args:
        source: the data set.
        split: "train" or "t10k".
        data_dir: folder with the files, themselves or in a sub-folder of the set's name. None: the folder that the
            environment variable `QDEQ_DATA_DIR` names; and where that is unset, a cache folder that missing files
            are downloaded into.

    Raises:
        DataError: a file is missing, cannot be downloaded, is truncated or altered, or holds something else.
    """
    images, labels = (
        _parse(_verified(source, f"{split}-{part}-ubyte.gz", data_dir)) for part in ("images-idx3", "labels-idx1")
    )
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise DataError(
            f"{source.name} {split}: images {images.shape} and labels {labels.shape} do not belong together"
        )
    return images, labels


def _verified(source: IDXSource, name: str, data_dir: Path | None) -> Path:
    """The path of a file whose checksum is right."""
    chosen = chosen_folder(data_dir)
    if chosen is not None:
        path = found_in(chosen, source.name, (name,))
    else:
        path = cache_dir() / source.name / name
        if not path.is_file():
            download(name, data_set=source.name, checksum=source.checksums[name], mirrors=source.mirrors, path=path)
    check(path, source.checksums[name])
    return path


def _parse(path: Path) -> np.ndarray:
    """The array in a gzip-compressed IDX file of unsigned bytes."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: is not a complete gzip file: {error}") from None
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(f"{path}: is not an IDX file of unsigned bytes")
    axes = content[3]
    start = 4 + 4 * axes
    shape = tuple(np.frombuffer(content[4:start], dtype=">u4").astype(int).tolist())
    if len(content) - start != int(np.prod(shape)):
        raise DataError(f"{path}: announces {shape} values but holds {len(content) - start} bytes")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
