"""Where wrong recipes are put, and a run that backends and noise are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import qdeq
from commands import TINY


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    result = qdeq("fit", folder / "tiny.yaml", "--out", folder / "run")
    assert result.exit_code == 0, result.output
    return folder / "run"


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a recipe that is right; data sets that are not bundled are not found."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing").mkdir()
    monkeypatch.setenv("QDEQ_DATA_DIR", str(tmp_path / "nothing"))
    (tmp_path / "tiny.yaml").write_text(TINY, encoding="utf-8")
    return tmp_path
