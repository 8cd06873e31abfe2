"""MNIST's files: read whole, checked, or refused by name."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import struct
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdeq_qiskit.training import DataError
from qdeq_qiskit.training.data.idx import FASHION_MNIST, MNIST, IDXSource, read_split

IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


def source_of(files: dict[str, bytes], mirrors: tuple[str, ...] = ()) -> IDXSource:
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    return IDXSource(name="toy", checksums=checksums, mirrors=mirrors)


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("QDEQ_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 3, 2))


@pytest.fixture
def files(pixels: np.ndarray) -> dict[str, bytes]:
    return {IMAGES: idx_bytes(pixels), LABELS: idx_bytes(np.arange(5))}


@pytest.fixture
def folder(tmp_path: Path, files: dict[str, bytes]) -> Path:
    (tmp_path / "toy").mkdir()
    for name, content in files.items():
        (tmp_path / "toy" / name).write_bytes(content)
    return tmp_path


@pytest.mark.parametrize("how", ["argument", "variable", "flat"])
def test_files_in_a_folder_are_read(
    folder: Path, files: dict[str, bytes], pixels: np.ndarray, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how == "variable":
        monkeypatch.setenv("QDEQ_DATA_DIR", str(folder))
    data_dir = {"argument": folder, "variable": None, "flat": folder / "toy"}[how]
    images, labels = read_split(source_of(files), "train", data_dir=data_dir)
    np.testing.assert_array_equal(images, pixels)
    np.testing.assert_array_equal(labels, np.arange(5))


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b[:40] + bytes([b[40] ^ 1]) + b[41:], lambda b: b""])
def test_a_truncated_or_altered_file_is_named_with_both_checksums(
    folder: Path, files: dict[str, bytes], damage: object
) -> None:
    damaged = damage(files[IMAGES])  # type: ignore[operator]
    (folder / "toy" / IMAGES).write_bytes(damaged)
    with pytest.raises(DataError) as caught:
        read_split(source_of(files), "train", data_dir=folder)
    message = str(caught.value)
    assert str(folder / "toy" / IMAGES) in message
    assert hashlib.sha256(files[IMAGES]).hexdigest() in message
    assert hashlib.sha256(damaged).hexdigest() in message


def test_a_missing_file_in_a_given_folder_is_named_and_never_downloaded(
    tmp_path: Path, files: dict[str, bytes]
) -> None:
    with pytest.raises(DataError, match=rf"toy/{IMAGES}: there is no such file"):
        read_split(source_of(files, ("http://127.0.0.1:9/",)), "train", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not gzip", "not a complete gzip file"),
        (gzip.compress(b"\x00\x00\x0d\x01", mtime=0), "not an IDX file"),
        (gzip.compress(struct.pack(">HBBI", 0, 8, 1, 9) + b"abc", mtime=0), "announces"),
    ],
)
def test_a_file_that_is_not_idx_is_refused_even_with_the_right_checksum(
    tmp_path: Path, files: dict[str, bytes], content: bytes, reason: str
) -> None:
    files[IMAGES] = content
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=reason):
        read_split(source_of(files), "train", data_dir=tmp_path)


@pytest.fixture
def mirror(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(folder), **kwargs)  # type: ignore[arg-type, misc]

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_a_download_is_taken_from_the_first_mirror_that_has_it_right_and_kept(
    mirror: str, folder: Path, files: dict[str, bytes], pixels: np.ndarray
) -> None:
    tampered = folder / "tampered"
    tampered.mkdir()
    for name in files:
        (tampered / name).write_bytes(b"something else")
    source = source_of(files, (mirror + "nothing-here/", mirror + "tampered/", mirror + "toy/"))
    images, _ = read_split(source, "train")
    np.testing.assert_array_equal(images, pixels)
    cache = folder / "cache" / "qdeq_qiskit" / "toy"
    assert sorted(path.name for path in cache.iterdir()) == [IMAGES, LABELS]
    images, _ = read_split(replace(source, mirrors=()), "train")
    np.testing.assert_array_equal(images, pixels)


def test_when_no_mirror_has_it_right_all_are_named_and_nothing_is_kept(mirror: str, folder: Path) -> None:
    source = IDXSource("toy", {IMAGES: "0" * 64, LABELS: "0" * 64}, (mirror + "toy/", "http://127.0.0.1:9/"))
    with pytest.raises(DataError) as caught:
        read_split(source, "train")
    message = str(caught.value)
    assert mirror in message
    assert "127.0.0.1:9" in message
    assert "0" * 64 in message
    assert "--data-dir" in message
    assert not (folder / "cache").exists()


def test_the_two_sets_have_a_checksum_for_each_of_their_four_files() -> None:
    for source in (MNIST, FASHION_MNIST):
        assert len(source.checksums) == 4
        assert all(len(checksum) == 64 for checksum in source.checksums.values())
        assert all(mirror.endswith("/") for mirror in source.mirrors)
    assert not set(MNIST.checksums.values()) & set(FASHION_MNIST.checksums.values())
