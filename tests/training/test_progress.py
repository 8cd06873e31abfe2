"""The line that a training run shows."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from qdeq_qiskit.training import TrainingRecipe
from qdeq_qiskit.training.fit import fit


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(("mode", "shown"), [("direct", "residual –  "), ("implicit", "e-0")])
def test_the_line_has_a_dash_where_no_equilibrium_is_sought(
    mode: str, shown: str, tiny_file: Path, tmp_path: Path
) -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=160)
    fit(TrainingRecipe.load(tiny_file, [f"model.mode={mode}"]), out=tmp_path / "run", console=console)
    assert shown in written.getvalue()
    assert "nan" not in written.getvalue()
