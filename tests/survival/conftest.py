"""A finished run that was never interrupted, for comparison."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from killed_runs import draw_quickly, small_recipe

from qdeq_qiskit.training import RunDirectory, TrainingRecipe
from qdeq_qiskit.training import report as report_module
from qdeq_qiskit.training.fit import fit


@pytest.fixture
def recipe(tmp_path: Path) -> TrainingRecipe:
    """What the run is of."""
    return small_recipe(tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The run, not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    return fit(small_recipe(folder), name="whole", out=folder / "run")


@pytest.fixture
def run(whole: RunDirectory, tmp_path: Path) -> RunDirectory:
    """A copy of one's own."""
    return RunDirectory(Path(shutil.copytree(whole.path, tmp_path / "run")))


@pytest.fixture
def drawn_quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports are a line; see `killed_runs.draw_quickly`."""
    monkeypatch.setattr(report_module, "write_report", report_module.write_report)  # to be put back
    draw_quickly()
