"""Files that appear complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qdeq_qiskit.files import write_atomically


def test_text_and_bytes_arrive_whole(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "θ\n")
    write_atomically(tmp_path / "b", b"\x00\xff")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "θ\n"
    assert (tmp_path / "b").read_bytes() == b"\x00\xff"
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@pytest.mark.parametrize("stage", ["fsync", "replace"])
def test_a_failure_at_any_stage_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    path = tmp_path / "kept"
    write_atomically(path, "old")

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, stage, fail)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["kept"]


def test_files_have_the_permissions_that_the_user_wants(tmp_path: Path) -> None:
    write_atomically(tmp_path / "mine", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "mine").stat().st_mode == (tmp_path / "plain").stat().st_mode
