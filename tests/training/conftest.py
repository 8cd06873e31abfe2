"""A training run of a second or two, for everything that needs one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from qdeq_qiskit.training import RunDirectory, TrainingRecipe
from qdeq_qiskit.training import report as report_module
from qdeq_qiskit.training.fit import fit

TINY = """
description: "a tiny run"
data: {name: digits, classes: [0, 3, 6], limit: 40}
circuit: qdeq4-amplitude
backend: {kind: exact}
model:
  features: {pool: {kernel: 2}}
  dropout: 0.2
optimisation: {epochs: 4, batch_size: 16, learning_rate: 0.05}
seed: 11
"""


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
