"""CIFAR-10: fetched once, made gray, kept, or refused by name."""

from __future__ import annotations

import hashlib
import http.server
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_cifar import archive_of, batches, check_toy, members_of, source_of, visible

from qdeq_qiskit.training import DataError, DataRecipe, load_splits
from qdeq_qiskit.training.data import cifar10
from qdeq_qiskit.training.data.cifar10 import ARCHIVE, CIFAR10, GRAY, read_cifar10


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("QDEQ_DATA_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def content() -> bytes:
    return archive_of(members_of(batches()))


@pytest.fixture
def published(tmp_path: Path, content: bytes) -> Path:
    """A folder with the archive."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / ARCHIVE).write_bytes(content)
    return folder


@pytest.fixture
def mirror(published: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, directory=str(published), **kwargs)  # type: ignore[arg-type, misc]

        def do_GET(self) -> None:
            if self.path.startswith("/broken/"):
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b"only so much")
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "qdeq_qiskit" / "cifar10"


def test_the_archive_is_downloaded_once_made_gray_and_not_kept(mirror: str, content: bytes, cache: Path) -> None:
    source = source_of(content, (mirror + "nothing-here/", mirror + "broken/", mirror))
    with pytest.warns(UserWarning, match=f"is being downloaded, .* it will be kept in .*{GRAY}"):
        check_toy(read_cifar10(source=source))
    assert visible(cache) == [GRAY]
    check_toy(read_cifar10(source=replace(source, mirrors=())))


@pytest.mark.filterwarnings("ignore:CIFAR-10 is being downloaded")
def test_when_no_mirror_has_it_right_each_is_named_with_its_reason_and_nothing_is_kept(
    mirror: str, published: Path, content: bytes, cache: Path
) -> None:
    for folder, wrong in (("short", content[:-9]), ("long", content + b"more")):
        (published / folder).mkdir()
        (published / folder / ARCHIVE).write_bytes(wrong)
    mirrors = tuple(mirror + folder for folder in ("broken/", "short/", "long/", "nothing-here/"))
    source = source_of(content, mirrors)
    with pytest.raises(DataError) as caught:
        read_cifar10(source=source)
    message = str(caught.value)
    assert "broke off after 12 of 1,000 bytes" in message
    assert f"short/: SHA-256 {hashlib.sha256(content[:-9]).hexdigest()}, expected {source.checksum}" in message
    assert f"long/: it is longer than {len(content):,} bytes" in message
    assert "nothing-here/: HTTP Error 404" in message
    assert "--data-dir" in message
    assert visible(cache) == []


@pytest.mark.filterwarnings("ignore:CIFAR-10 is being downloaded")
def test_an_interrupted_conversion_is_taken_up_again_without_a_second_download(
    mirror: str, content: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = os.replace

    def interrupted(old: str, new: Path) -> None:
        if new.name == GRAY:
            raise KeyboardInterrupt
        original(old, new)

    source = source_of(content, (mirror,))
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read_cifar10(source=source)
    assert visible(cache) == [ARCHIVE]
    (cache / f".{GRAY}.of-a-killed-one.part").write_bytes(b"half")
    check_toy(read_cifar10(source=replace(source, mirrors=())))
    assert visible(cache) == [GRAY]


@pytest.mark.filterwarnings("ignore:CIFAR-10 is being downloaded")
def test_what_starts_together_downloads_it_once(mirror: str, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads, results, original = [], [], cifar10.download

    def slow(*args: Any, **kwargs: Any) -> None:
        downloads.append(args)
        time.sleep(0.2)
        original(*args, **kwargs)

    monkeypatch.setattr(cifar10, "download", slow)
    source = source_of(content, (mirror,))
    threads = [threading.Thread(target=lambda: results.append(read_cifar10(source=source))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(downloads) == 1
    assert len(results) == 3
    for parts in results:
        check_toy(parts)


@pytest.mark.parametrize("inside", ["", "cifar10"])
def test_an_archive_in_a_users_folder_is_made_gray_beside_it_and_left_there(
    tmp_path: Path, content: bytes, inside: str
) -> None:
    folder = tmp_path / "mine" / inside
    folder.mkdir(parents=True)
    (folder / ARCHIVE).write_bytes(content)
    source = source_of(content)
    check_toy(read_cifar10(tmp_path / "mine", source=source))
    assert visible(folder) == [ARCHIVE, GRAY]
    (folder / ARCHIVE).unlink()
    check_toy(read_cifar10(tmp_path / "mine", source=source))


def test_where_the_gray_file_cannot_be_written_the_archive_alone_does(published: Path, content: bytes) -> None:
    (published / GRAY).mkdir()  # root may write anywhere, but not over a folder
    with pytest.warns(UserWarning, match=rf"{GRAY}: cannot be written: .*; CIFAR-10 is made gray anew each time"):
        check_toy(read_cifar10(published, source=source_of(content)))
    assert visible(published) == [ARCHIVE, GRAY]


def test_a_folder_without_either_file_is_named_and_nothing_downloaded(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"cifar10/{GRAY}: there is no such file, nor {ARCHIVE}; .* put it there"):
        read_cifar10(tmp_path)


def test_a_truncated_or_altered_archive_is_named_with_both_checksums(published: Path, content: bytes) -> None:
    source = source_of(content)
    for damaged in (content[:-1], content[:40] + bytes([content[40] ^ 1]) + content[41:], b""):
        (published / ARCHIVE).write_bytes(damaged)
        with pytest.raises(DataError, match=f"{ARCHIVE}: is truncated or altered") as caught:
            read_cifar10(published, source=source)
        assert hashlib.sha256(damaged).hexdigest() in str(caught.value)
        assert source.checksum in str(caught.value)
    assert visible(published) == [ARCHIVE]


def test_images_that_come_out_otherwise_than_known_are_refused(published: Path, content: bytes) -> None:
    source = source_of(content)
    checksums = {**source.gray_checksums, "train_images": "0" * 64}
    with pytest.raises(DataError, match=r"SHA-256 of train images is \w{64}, expected 0000"):
        read_cifar10(published, source=replace(source, gray_checksums=checksums))
    assert visible(published) == [ARCHIVE]


def test_a_gray_file_that_is_damaged_or_another_is_refused(published: Path, content: bytes) -> None:
    source = source_of(content)
    read_cifar10(published, source=source)
    path = published / GRAY
    whole = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    altered = arrays["test_images_d2"].copy()
    altered[1, 31, 31] ^= 1
    for change, reason in (
        ({"test_images_d2": altered}, "is truncated or altered: SHA-256 of test images is"),
        ({"train_labels": arrays["train_labels"][:9]}, r"train_labels has type uint8 and shape \(9,\); .* \(10,\)"),
        ({"train_images_d2": arrays["train_images_d2"].astype(np.float32)}, "train_images_d2 has type float32"),
        ({"test_labels": np.array([object()] * 2)}, "holds Python objects, which are never loaded"),
    ):
        np.savez(path, **{**arrays, **change})
        with pytest.raises(DataError, match=rf"{GRAY}: .*{reason}"):
            read_cifar10(published, source=source)
    path.write_bytes(whole[:-40])
    with pytest.raises(DataError, match=rf"{GRAY}: is not a whole .npz file"):
        read_cifar10(published, source=source)


def test_the_published_set_is_named_by_its_known_checksum_and_addresses() -> None:
    assert len(CIFAR10.checksum) == 64
    assert {len(checksum) for checksum in CIFAR10.gray_checksums.values()} == {64}
    assert all(mirror.startswith("https://") and mirror.endswith("/") for mirror in CIFAR10.mirrors)


def test_a_recipe_chooses_classes_by_name_and_splits_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(1).integers(0, 256, (200, 32, 32), dtype=np.uint8)
    labels = np.arange(200, dtype=np.uint8) % 10
    parts = ((images[:150], labels[:150]), (images[150:], labels[150:]))
    monkeypatch.setattr(cifar10, "read_cifar10", lambda data_dir: parts)
    splits = load_splits(DataRecipe(name="cifar10", classes=("truck", "cat")))
    assert splits.class_names == ("truck", "cat")
    assert [len(part) for part in (splits.train, splits.valid, splits.test)] == [24, 6, 10]
    np.testing.assert_allclose(splits.test.pixels[splits.test.labels == 1], images[150:][labels[150:] == 3] / 255)
