"""A finished study, for everything that needs one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_studies import write_study

from qdeq_qiskit.studies.directory import StudyDirectory
from qdeq_qiskit.studies.study import run_study


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    return write_study(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, not to be changed."""
    folder = tmp_path_factory.mktemp("study")
    return run_study(write_study(folder), out=folder / "out", workers=2).directory.path


@pytest.fixture
def study(finished: Path, tmp_path: Path) -> StudyDirectory:
    """A finished study of one's own."""
    return StudyDirectory(Path(shutil.copytree(finished, tmp_path / "out")).resolve())


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies end without a report, which takes longer to draw than a few cells to compute."""
    monkeypatch.setattr("qdeq_qiskit.studies.report.write_report", lambda *_: None)
