"""A run of the classical control: it is fitted, reported and tested as any, and refused wherever a circuit is meant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import qdeq

RECIPE = """
extends: digits4
model: {map: classical}
data: {limit: 60}
optimisation: {epochs: 2}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classical")
    (folder / "control.yaml").write_text(RECIPE, encoding="utf-8")
    result = qdeq("fit", folder / "control.yaml", "--out", folder / "run")
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_it_takes_no_circuits_and_says_where_it_ran(run: Path) -> None:
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert (result["circuits"], result["shots"]) == (0, 0)
    assert result["parameters"]["circuit"] == 39
    assert result["backend"] == "a classical map on cpu, single precision"
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "a classical map with as many weights, 39, in its place" in report
    assert "The quantum circuit" not in report
    assert "extends" not in (run / "recipe.yaml").read_text(encoding="utf-8")


def test_its_run_is_tested_where_it_was_trained(run: Path) -> None:
    result = qdeq("evaluate", run)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "RUN", "--noise", "depolarizing"),
        ("evaluate", "RUN", "--shots", "100"),
        ("cost", "RUN", "--backend", "fake_manila"),
        ("submit", "RUN", "--backend", "fake_manila"),
        ("tune", "RUN", "--backend", "fake_manila"),
        ("study", "STUDY"),
    ],
)
def test_commands_about_circuits_refuse_it_in_a_sentence(arguments: tuple[str, ...], run: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(f"models: [{{name: control, runs: [{run}]}}]\nnoise: [depolarizing]", encoding="utf-8")
    result = qdeq(*({"RUN": run, "STUDY": study}.get(argument, argument) for argument in arguments))
    assert result.exit_code == 2
    assert "model.map is 'classical'" in result.stderr
    assert "quantum" in result.stderr
