"""The archive that CIFAR-10 comes in: made gray, and refused where it holds anything else."""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from toy_cifar import FILES, archive_of, batches, check_toy, info_of, members_of, source_of, visible

from qdeq_qiskit.training import DataError
from qdeq_qiskit.training.data.cifar10 import ARCHIVE, GRAY, read_cifar10
from qdeq_qiskit.training.data.cifar_archive import luma


def test_luma_is_pillows_for_every_kind_of_colour() -> None:
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij")).reshape(1, 3, len(steps), -1)
    picture = PIL.Image.fromarray(np.ascontiguousarray(grid[0].transpose(1, 2, 0)))
    np.testing.assert_array_equal(luma(grid)[0], np.asarray(picture.convert("L")))


def with_member(info: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """An archive in which another member comes first, and in the place of the one of that name."""
    return archive_of([(info, content), *(member for member in members_of(batches()) if member[0].name != info.name)])


def in_place_of(name: str, kind: bytes, target: str = "") -> bytes:
    info = info_of(name, 0, kind)
    info.linkname = target
    return with_member(info)


def with_header(comment: str) -> bytes:
    info = info_of("x", 0)
    info.pax_headers = {"comment": comment}
    return with_member(info)


FIRST, LAST = FILES[0], FILES[-1]
SIZE = len(batches()[FIRST])
WHOLE = archive_of(members_of(batches()))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (in_place_of(FIRST, tarfile.SYMTYPE, "/etc/passwd"), r"data_batch_1\.bin is a link, a folder or a device"),
        (in_place_of(FIRST, tarfile.LNKTYPE, "../../x"), r"data_batch_1\.bin is a link, a folder or a device"),
        (in_place_of(FIRST, tarfile.CHRTYPE), r"data_batch_1\.bin is a link, a folder or a device"),
        (with_member(info_of(FIRST, SIZE + 3073), bytes(SIZE + 3073)), r"data_batch_1\.bin has 9,219 bytes; .* 6,146"),
        (with_member(info_of("bomb", 2**22), bytes(2**22)), "bomb has 4,194,304 bytes; no file in it is that long"),
        (archive_of(3 * [(info_of("x", 2**19), bytes(2**19))]), "holds more than the six files of CIFAR-10"),
        (with_header("x" * 2**22), "holds more than the six files of CIFAR-10"),
        (archive_of(2 * members_of(batches())), r"test_batch\.bin is in it twice"),
        (
            with_member(info_of(FIRST, SIZE), b"\x0a" + bytes(SIZE - 1)),
            r"data_batch_1\.bin: image 0 has label 10; .* 0 to 9",
        ),
        (with_member(info_of("x", 0))[:-30], "is not a complete gzip-compressed tar file"),
        (WHOLE[: len(WHOLE) // 2], "is not a complete gzip-compressed tar file"),
        (b"not gzip", "is not a complete gzip-compressed tar file"),
        (b"", "is not a complete gzip-compressed tar file"),
    ],
    ids=[
        "symbolic link",
        "hard link",
        "device",
        "size",
        "bomb",
        "many",
        "header",
        "twice",
        "label",
        "end",
        "half",
        "text",
        "empty",
    ],
)
def test_an_archive_of_anything_else_is_refused_even_with_the_right_checksum(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / ARCHIVE).write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read_cifar10(tmp_path, source=source_of(content))
    assert str(caught.value).startswith(f"{tmp_path / ARCHIVE}: ")
    assert visible(tmp_path) == [ARCHIVE]


def test_a_size_that_would_take_forever_to_pass_over_is_refused_at_once(tmp_path: Path) -> None:
    content = gzip.compress(info_of("x", 2**60).tobuf(tarfile.GNU_FORMAT))
    (tmp_path / ARCHIVE).write_bytes(content)
    with pytest.raises(DataError, match="x has 1,152,921,504,606,846,976 bytes; no file in it is that long"):
        read_cifar10(tmp_path, source=source_of(content))


def test_an_archive_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    content = archive_of([member for member in members_of(batches()) if member[0].name != LAST])
    (tmp_path / ARCHIVE).write_bytes(content)
    with pytest.raises(DataError, match=f"there is no {LAST} in it"):
        read_cifar10(tmp_path, source=source_of(content))


def test_members_that_would_lie_outside_are_never_written(tmp_path: Path) -> None:
    folder = tmp_path / "cifar10"
    folder.mkdir()
    content = with_member(info_of("../outside", 4), b"evil")
    (folder / ARCHIVE).write_bytes(content)
    check_toy(read_cifar10(tmp_path, source=source_of(content)))
    assert visible(folder) == [ARCHIVE, GRAY]
    assert visible(tmp_path) == ["cifar10"]
