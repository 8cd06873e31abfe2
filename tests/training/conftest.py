"""A training run of a second or two, for everything that needs one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_recipe import TINY

from qdeq_qiskit.training import RunDirectory, TrainingRecipe
from qdeq_qiskit.training import report as report_module
from qdeq_qiskit.training.fit import fit


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """The recipe's file."""
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the recipe, not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    return fit(TrainingRecipe.load(folder / "tiny.yaml"), name="<tiny>", out=folder / "run").path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> RunDirectory:
    """A finished run of one's own."""
    return RunDirectory(Path(shutil.copytree(finished, tmp_path / "run")))


@pytest.fixture
def without_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs end without a report, which takes longer to draw than a tiny run to train."""
    monkeypatch.setattr(report_module, "write_report", lambda *_: None)


@pytest.fixture
def tiny(tiny_file: Path) -> TrainingRecipe:
    """The recipe."""
    return TrainingRecipe.load(tiny_file)
