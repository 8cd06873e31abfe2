"""The commands for processors, as a user types them."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import error_line, qdeq
from trained_recipe import TRAINING

from qdeq_qiskit.training.fit import fit
from qdeq_qiskit.training.recipe import TrainingRecipe

pytestmark = pytest.mark.usefixtures("without_report")


def value(output: str, title: str) -> str:
    """What stands beside a title in the last table that has it."""
    found: list[str] = re.findall(rf"│ {re.escape(title)} +│ (.*?) +│", output)
    assert found, output
    return found[-1]


def test_cost_shows_the_compiled_circuit_and_what_it_takes_and_writes_nothing(run: Path, manila: str) -> None:
    before = sorted(path.name for path in run.iterdir())
    result = qdeq("cost", run, "--backend", manila, "--samples", 3)
    assert result.exit_code == 0, (result.output, result.exception)
    assert value(result.stdout, "processor") == "fake_manila, 5 qubits"
    assert len(value(result.stdout, "qubits").split(", ")) == 4
    assert float(value(result.stdout, "seconds of the processor").replace(",", "")) > 2
    assert "executions × (" in value(result.stdout, "by IBM's formula")
    assert sorted(path.name for path in run.iterdir()) == before


def test_a_plan_says_when_its_budget_will_cut_it_short(run: Path, manila: str) -> None:
    for seconds, short in ((3, True), (3000, False)):
        change = f"max_qpu_seconds={seconds}"
        result = qdeq("cost", run, "--backend", manila, "--samples", 3, "--set", change)
        assert ("less than is predicted" in " ".join(result.stdout.split())) is short


def test_more_shots_cost_more(run: Path, manila: str) -> None:
    def seconds(*options: object) -> float:
        result = qdeq("cost", run, "--backend", manila, "--samples", 2, "--method", "surrogate", *options)
        assert result.exit_code == 0, (result.output, result.exception)
        return float(value(result.stdout, "seconds of the processor").replace(",", ""))

    assert seconds("--shots", 2000) > 5 * seconds("--shots", 100)


def test_a_model_is_submitted_and_its_jobs_are_listed(run: Path, manila: str) -> None:
    result = qdeq("submit", run, "--backend", manila, "--samples", 3)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "of 3 images" in value(result.stdout, "accuracy")
    assert result.stdout.strip().endswith(f"report: {run / 'hardware' / '1' / 'report.html'}")
    used = json.loads((run / "hardware" / "1" / "result.json").read_text())["used"]
    assert f"{used['jobs']:,} (predicted" in value(result.stdout, "jobs")
    listed = qdeq("jobs", run)
    assert listed.exit_code == 0, listed.output
    assert len(re.findall(r"\bdone\b", listed.stdout)) == used["jobs"]
    assert "finished" in listed.stdout
    assert "no solve is left" in qdeq("resume", run).stdout
    assert "nothing to cancel" in qdeq("cancel", run).stdout


def test_a_model_is_tuned(run: Path, manila: str) -> None:
    result = qdeq(
        "tune", run, "--backend", manila, "--samples", 3, "--steps", 1, "--gradient", "spsa", "--test-samples", 2
    )
    assert result.exit_code == 0, (result.output, result.exception)
    assert "1 step of Adam" in result.stdout
    assert (run / "hardware" / "1" / "model" / "model.safetensors").is_file()


def test_the_report_of_a_run_says_where_those_of_its_solves_are(run: Path) -> None:
    for solve in (10, 2, 3):
        (run / "hardware" / str(solve)).mkdir(parents=True)
    for solve in (10, 2):
        (run / "hardware" / str(solve) / "report.html").touch()
    lines = qdeq("report", run).stdout.splitlines()
    assert lines[0] == f"report: {run / 'report.html'}"
    assert lines[1:] == [f"solve {solve}: {run / 'hardware' / str(solve) / 'report.html'}" for solve in (2, 10)]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("cost", "RUN", "--backend", "exact"), ["kind exact", "qdeq evaluate"]),
        (("submit", "RUN", "--backend", "fake_torinho"), ["fake_torinho", "did you mean 'fake_torino'?"]),
        (("submit", "RUN", "--backend", "ibm_torino"), ["ibm_torino", "--backend ibm --set name=ibm_torino"]),
        (("submit", "RUN", "--backend", "MANILA", "--set", "shot=5"), ["shot", "did you mean 'shots'?"]),
        (("submit", "RUN", "--backend", "MANILA", "--set", "name=fake_manilla"), ["fake_manilla", "fake_manila"]),
        (("submit", "RUN", "--backend", "MANILA", "--max-qpu-seconds", 1), ["max_qpu_seconds is 1", "first job"]),
        (("submit", "RUN", "--backend", "MANILA", "--max-qpu-seconds", 0), ["max_qpu_seconds", "0"]),
        (("submit", "RUN", "--backend", "MANILA", "--set", "token=abc"), ["credentials"]),
        (("cost", "RUN", "--backend", "MANILA", "--design", "clifford"), ["--design", "surrogate"]),
        (("tune", "RUN", "--backend", "MANILA", "--learning-rate", -1), ["tune: learning_rate: -1", "greater than 0"]),
        (("submit", "nowhere", "--backend", "MANILA"), ["nowhere", "no such run folder"]),
        (("jobs", "RUN"), ["there is no ledger", "nothing was submitted"]),
        (("resume", "RUN"), ["there is no ledger"]),
        (("cancel", "RUN"), ["there is no ledger"]),
        (("jobs", "nowhere"), ["nowhere", "no such run folder"]),
    ],
)
def test_a_users_mistake_is_one_line_and_spends_nothing(
    run: Path, manila: str, arguments: tuple[object, ...], parts: list[str]
) -> None:
    places = {"RUN": run, "MANILA": manila}
    line = error_line(qdeq(*(places.get(str(argument), argument) for argument in arguments)))
    for part in parts:
        assert part in line
    assert not (run / "hardware").exists()


def test_too_few_qubits_is_one_line(tmp_path: Path) -> None:
    recipe = TRAINING.replace("qdeq4-amplitude", "qdeq6-amplitude").replace("pool: {kernel: 2}", "pool: null")
    (tmp_path / "six.yaml").write_text(recipe.replace("epochs: 3", "epochs: 1"))
    six = fit(TrainingRecipe.load(tmp_path / "six.yaml"), out=tmp_path / "six", report=False).path
    line = error_line(qdeq("submit", six, "--backend", "fake_manila"))
    assert "6" in line
    assert "5" in line


def test_ctrl_c_says_how_to_go_on_and_then_it_does(run: Path, manila: str) -> None:
    command = [sys.executable, "-m", "qdeq_qiskit.cli", "submit", str(run), "--backend", manila, "--samples", "20"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ledger = run / "ledger.sqlite"
    while process.poll() is None and not ledger.exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith(f"qdeq: interrupted; `qdeq resume {run}` goes on")
    resumed = qdeq("resume", run)
    assert resumed.exit_code == 0, (resumed.output, resumed.exception)
    assert (run / "hardware" / "1" / "result.json").is_file()
