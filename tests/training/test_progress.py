"""The line that a training run shows."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from qdeq_qiskit.training import TrainingRecipe
from qdeq_qiskit.training.fit import fit


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(("mode", "shown"), [("direct", "residual –"), ("implicit", "e-0")])
def test_the_line_has_a_dash_where_no_equilibrium_is_sought(
    mode: str, shown: str, tiny_file: Path, tmp_path: Path
) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=160)
    fit(TrainingRecipe.load(tiny_file, [f"model.mode={mode}"]), out=tmp_path / "run", console=console)
    assert shown in written.getvalue()
    assert "nan" not in written.getvalue()


def last_line(written: str) -> str:
    """What stays of the progress line on the screen."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    return [line for line in re.split(r"[\r\n]+", plain) if line.startswith("epoch")][-1]


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_line_ends_with_the_last_epochs_figures_beside_its_number_at_any_width(
    width: int, tiny_file: Path, tmp_path: Path
) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=width)
    run = fit(TrainingRecipe.load(tiny_file), out=tmp_path / "run", console=console)
    with run.history.open(encoding="utf-8", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    line = last_line(written.getvalue())
    assert line.startswith("epoch 4/4 ")
    assert "left" in line
    assert len(line) <= width
    assert f"train acc {float(last['train_accuracy']):.3f}  valid acc {float(last['valid_accuracy']):.3f}" in line
    assert ("iterations" in line) == (width == 160)


@pytest.mark.usefixtures("without_report")
def test_a_run_that_stops_early_says_so(tiny_file: Path, tmp_path: Path) -> None:
    written = io.StringIO()
    changes = ["optimisation.epochs=30", "optimisation.early_stopping_patience=1", "optimisation.learning_rate=1.5"]
    fit(TrainingRecipe.load(tiny_file, changes), out=tmp_path / "run", console=Console(file=written, width=160))
    assert re.search(r"stopped early, after \d+ of 30 epochs", written.getvalue())
