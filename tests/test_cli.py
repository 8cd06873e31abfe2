"""The command line: what it prints, and that a user's mistake is one line and never a traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import error_line, qdeq

from qdeq_qiskit import __version__, recipes

TINY = """
description: "a tiny run"
data: {name: digits, classes: [0, 3, 6], limit: 40}
circuit: qdeq4-amplitude
backend: {kind: exact}
model: {features: {pool: {kernel: 2}}}
optimisation: {epochs: 3, batch_size: 16}
"""


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QDEQ_DATA_DIR", raising=False)
    (tmp_path / "tiny.yaml").write_text(TINY)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    (folder / "tiny.yaml").write_text(TINY)
    result = qdeq("fit", folder / "tiny.yaml", "--out", folder / "run", "--seed", 5)
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_the_version_is_shown() -> None:
    assert __version__ in qdeq("--version").stdout


def test_fit_ends_with_a_summary_and_the_reports_path() -> None:
    result = qdeq("fit", "tiny.yaml", "--set", "optimisation.epochs=2")
    assert result.exit_code == 0, result.output
    assert "test accuracy" in result.stdout
    assert "logistic regression" in result.stdout
    assert result.stdout.strip().endswith("report: runs/tiny-1/report.html")
    assert Path("runs/tiny-1/report.html").is_file()
    assert json.loads(Path("runs/tiny-1/result.json").read_text())["epochs"] == 2


def test_overrides_and_the_seed_reach_the_run(run: Path) -> None:
    assert json.loads((run / "result.json").read_text())["seed"] == 5
    recipe = (run / "recipe.yaml").read_text()
    assert "seed: 5" in recipe


def figures_of(run: Path, pattern: str) -> dict[str, Any]:
    """What the one evaluation whose file is called so found."""
    (path,) = (run / "evaluations").glob(pattern)
    figures: dict[str, Any] = json.loads(path.read_text())
    return figures


def test_a_run_is_evaluated_again_and_leaves_the_figures(run: Path) -> None:
    result = qdeq("evaluate", run, "--samples", 12)
    assert result.exit_code == 0, result.output
    assert "12 of 40 test images" in result.stdout
    assert (run / "evaluations" / "own-12.json").is_file()


def test_another_exact_engine_agrees_with_the_runs_own(run: Path) -> None:
    Path("aer.yaml").write_text("{kind: exact, engine: aer, precision: double}")
    result = qdeq("evaluate", run, "--backend", "aer.yaml")
    assert result.exit_code == 0, result.output
    compared = figures_of(run, "aer-exact-*-40.json")["compared"]
    assert compared["same_prediction"] == 1
    assert compared["median_displacement"] < 1e-4
    assert (compared["branch_changes"], compared["not_compared"]) == (0, 0)
    assert "branch changes" in result.stdout
    assert "not compared" in result.stdout


def test_a_sampled_backend_is_compared_with_the_exact_one_on_a_few_images(run: Path) -> None:
    result = qdeq("evaluate", run, "--backend", "backends/shots.yaml", "--samples", 4)
    assert result.exit_code == 0, result.output
    figures = figures_of(run, "shots-4096shots-*-4.json")
    exact, sampled, compared, backend = figures.values()
    assert (backend["kind"], backend["shots"]) == ("shots", 4096)
    assert exact["shots"] == 0
    assert sampled["shots"] >= 4096 * sampled["circuits"] > 0, "an estimate takes the shots of many evaluations at once"
    # One evaluation's standard error is at most 1/sqrt(4096) a readout; averaging only helps.
    assert 0 < compared["median_displacement"] < 3 * 2 / 64
    assert (compared["branch_changes"], compared["not_compared"]) == (0, 0), "within three half-widths of the estimate"
    assert "95% half-width of w*, median" in result.stdout


def test_noise_stands_beside_the_exact_backend_with_roots_followed_and_intervals(run: Path) -> None:
    exact = qdeq("evaluate", run, "--noise", "noise/depolarizing.yaml")
    assert exact.exit_code == 0, exact.output
    assert re.search(r"95% interval +│ +[\d.]+% – [\d.]+%", exact.stdout)
    figures = figures_of(run, "depolarizing-exact-*-40.json")
    compared = figures["compared"]
    assert compared["median_displacement"] > 0.01, "noise moves every root by far more than the tolerance"
    assert compared["branch_changes"] <= 2, "and yet they are the same roots"
    sampled = qdeq(
        "evaluate", run, "--noise", "readout", "--shots", 512, "--mitigation", "matrix", "--no-encoder-noise",
        "--samples", 6,
    )  # fmt: skip
    assert sampled.exit_code == 0, sampled.output
    (noisy,) = (
        entry
        for name, entry in figures_of(run, "readout-512shots-matrix-ideal_encoder-*-6.json").items()
        if "512 shots" in name
    )
    assert noisy["shots"] > 0
    assert noisy["median_half_width"] > 0


@pytest.mark.parametrize("command", ["evaluate", "report"])
def test_a_study_given_for_a_run_is_said_to_be_one(command: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("models: []")
    line = error_line(qdeq(command, tmp_path))
    assert f"{tmp_path}: is a study, not a run" in line
    assert f"takes one of the runs in {tmp_path / 'runs'}" in line


def test_a_studys_help_shows_an_override_that_a_study_takes() -> None:
    assert "samples=40" in qdeq("study", "--help").stdout


def test_shots_alone_are_of_the_ideal_circuit(run: Path) -> None:
    result = qdeq("evaluate", run, "--shots", 256, "--samples", 5)
    assert result.exit_code == 0, result.output
    assert "ideal circuit, 256 shots" in " ".join(result.stdout.split())
    assert figures_of(run, "ideal-256shots-*-5.json")["backend"]["shots"] == 256


def test_what_differs_in_anything_is_written_to_a_file_of_its_own(run: Path) -> None:
    Path("readout.yaml").write_text("{sources: [{kind: readout, error: 0.07}]}")
    for noise in ("readout", "readout.yaml", "readout"):
        assert qdeq("evaluate", run, "--noise", noise, "--samples", 3).exit_code == 0
    Path("noisy.yaml").write_text("{kind: noisy, noise: readout, shots: 64}")
    assert qdeq("evaluate", run, "--backend", "noisy.yaml", "--samples", 3).exit_code == 0
    files = sorted((run / "evaluations").glob("*-3.json"))
    assert [file.name.split("-")[:2] for file in files] == [["noisy", "64shots"], *[["readout", "exact"]] * 2]
    errors = {str(json.loads(file.read_text())["backend"]["noise"]["sources"][0]["error"]) for file in files}
    assert len(errors) == 2


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (("--noise", "readout", "--backend", "shots"), ["--backend and --noise exclude each other"]),
        (("--noise", "depolarising"), ["did you mean 'depolarizing'?"]),
        (("--mitigation", "trex"), ["--mitigation is about noise", "--noise"]),
        (("--no-encoder-noise", "--shots", "9"), ["--encoder-noise is about noise"]),
        (("--noise", "readout", "--mitigation", "trx", "--shots", "9"), ["trx", "trex"]),
        (
            ("--noise", "readout", "--mitigation", "{readot: trex}", "--shots", "9"),
            ["readot", "did you mean 'readout'?"],
        ),
        (("--noise", "readout", "--mitigation", "trex"), ["trex", "shots"]),
        (("--noise", "depolarizing", "--mitigation", "matrix"), ["mitigation: readout", "no readout that counts errs"]),
        (("--noise", "damping", "--mitigation", "trex", "--shots", "9"), ["mitigation: readout", "no readout"]),
    ],
)
def test_options_of_noise_that_cannot_be_meant_are_one_line(
    run: Path, options: tuple[str, ...], parts: list[str]
) -> None:
    line = error_line(qdeq("evaluate", run, *options))
    for part in parts:
        assert part in line


def test_direct_mode_shows_a_dash_where_an_equilibrium_has_a_residual() -> None:
    fitted = qdeq("fit", "tiny.yaml", "--set", "model.mode=direct", "--set", "model.layers=3", "--out", "direct")
    assert fitted.exit_code == 0, fitted.output
    assert re.search(r"median relative residual +│ +– ", fitted.stdout)
    evaluated = qdeq("evaluate", "direct")
    assert evaluated.exit_code == 0, evaluated.output
    assert re.search(r"median residual +│ +– ", evaluated.stdout)
    assert "nan" not in fitted.stdout + evaluated.stdout


def test_a_report_is_written_anew(run: Path) -> None:
    (run / "report.html").unlink()
    result = qdeq("report", run)
    assert result.exit_code == 0, result.output
    assert (run / "report.html").is_file()


def test_recipes_are_listed_with_one_line_each() -> None:
    lines = qdeq("recipes").stdout.splitlines()
    assert any("digits " in line and "6 qubits" in line for line in lines)
    assert any("qdeq4-amplitude" in line for line in lines)
    assert not any("qdeq4-amplitude" in line for line in qdeq("recipes", "training").stdout.splitlines())
    noise = qdeq("recipes", "noise").stdout.splitlines()
    assert any("fake_torino" in line and "133 qubits" in line for line in noise)
    assert qdeq("recipes", "studies").stdout.startswith("studies/")


def test_info_names_versions_devices_and_engine() -> None:
    result = qdeq("info")
    assert result.exit_code == 0
    for part in ("qdeq_qiskit", "torch sees", "Aer sees", "CPU", "engine: auto"):
        assert part in result.stdout


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("fit", "digit"), ["digit", "did you mean 'digits'?"]),
        (("fit", "no/such.yaml"), ["no/such.yaml", "does not exist"]),
        (("fit",), ["which recipe?"]),
        (("fit", "tiny.yaml", "--set", "optimisation.epoch=3"), ["optimisation.epoch", "did you mean 'epochs'?"]),
        (("fit", "tiny.yaml", "--set", "seed"), ["--set seed", "key=value"]),
        (("fit", "tiny.yaml", "--seed", "-1"), ["seed", "-1"]),
        (("fit", "tiny.yaml", "--set", "circuit=qdeq4-angl"), ["circuit", "did you mean 'qdeq4-angle'?"]),
        (("fit", "tiny.yaml", "--set", "circuit=qdeq6-amplitude"), ["16 features", "64"]),
        (("fit", "tiny.yaml", "--set", "model.solver={kind: anderso}"), ["model.solver", "anderson"]),
        (("fit", "tiny.yaml", "--set", "model.trainable=blok"), ["model.trainable", "'block'"]),
        (("fit", "tiny.yaml", "--set", "data.classes=[3]"), ["data.classes", "two classes"]),
        (("fit", "tiny.yaml", "--set", "data.limit=2"), ["data.limit is 2", "at least 3"]),
        (("fit", "mnist4", "--data-dir", "nowhere"), ["nowhere: there is no such folder", "mnist"]),
        (("fit", "tiny.yaml", "--out", "tiny.yaml"), ["tiny.yaml", "never overwritten"]),
        (("fit", "--resume", "nowhere"), ["nowhere", "no such run folder"]),
        (("fit", "--resume", "nowhere", "--set", "optimisation.epochs=9"), ["nowhere", "no such run folder"]),
        (("report", "tiny.yaml"), ["tiny.yaml: is a file; give the folder of the run"]),
        (("fit", "--resume", "."), ["holds no run"]),
        (("fit", "tiny.yaml", "--resume", "a", "--out", "b"), ["exclude each other"]),
        (("evaluate", "nowhere"), ["nowhere", "no such run folder"]),
        (("report", "."), ["holds no run"]),
        (("recipes", "circuit"), ["circuit", "circuits"]),
    ],
)
def test_a_users_mistake_is_one_line_and_leaves_nothing_behind(
    arguments: tuple[str, ...], parts: list[str], tmp_path: Path
) -> None:
    before = sorted(os.listdir(tmp_path))
    line = error_line(qdeq(*arguments))
    for part in parts:
        assert part in line
    assert sorted(os.listdir(tmp_path)) == before


def test_an_unknown_backend_is_answered_with_the_shipped_ones(run: Path) -> None:
    for option, name, kind in (("--noise", "noisy", "backend"), ("--backend", "depolarizing", "noise")):
        assert f"named '{name}'; a {kind} recipe has that name" in error_line(qdeq("evaluate", run, option, name))
    assert "there is no backend recipe named 'shotz'" in error_line(qdeq("evaluate", run, "--backend", "shotz"))


def test_a_read_only_place_is_one_line(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("the superuser may write everywhere")
    tmp_path.chmod(0o500)
    assert "cannot be written" in error_line(qdeq("fit", "tiny.yaml"))


def test_an_interrupted_run_says_how_to_continue_and_then_does(tmp_path: Path) -> None:
    Path("tiny.yaml").write_text(TINY.replace("epochs: 3", "epochs: 100000"))
    command = [sys.executable, "-m", "qdeq_qiskit.cli"]
    process = subprocess.Popen(
        [*command, "fit", "tiny.yaml", "--out", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests in the background of a script have inherited that Ctrl-C is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while process.poll() is None and not Path("run/checkpoints/previous.ckpt").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    try:
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130, errors
    assert errors.strip().splitlines()[-1] == "qdeq: interrupted; `qdeq fit --resume run` continues the run"
    done = len(Path("run/history.csv").read_text().splitlines()) - 1
    result = qdeq("fit", "--resume", "run", "--set", f"optimisation.epochs={done + 1}")
    assert result.exit_code == 0, result.output
    assert json.loads(Path("run/result.json").read_text())["epochs"] == done + 1


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("qdeq_qiskit.training.fit.fit", fault)
    assert isinstance(qdeq("fit", "tiny.yaml").exception, ZeroDivisionError)


def test_help_and_version_import_nothing_heavy() -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from qdeq_qiskit.cli import app\n"
        "assert CliRunner().invoke(app, ['fit', '--help']).exit_code == 0\n"
        "heavy = {'torch', 'qiskit', 'lightning', 'sklearn', 'matplotlib', 'qiskit_aer'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_keys_of_every_kind_of_recipe_are_listed_with_type_default_and_meaning() -> None:
    training = qdeq("recipes", "training", "--keys").stdout
    assert (
        "optimisation.epochs  whole number ≥ 1 and ≤ 1e+06; default 100\n    Passes over the training set." in training
    )
    assert "data.name  digits, mnist" in training
    assert "required" in training
    assert "model.solver[kind=newton].tolerance  float; default 0.0001" in training
    for kind in ("circuits", "backends", "noise", "studies", "reproductions"):
        lines = qdeq("recipes", kind, "--keys").stdout.splitlines()
        for key in recipes.list_recipes(kind):
            for name in recipes.read_yaml(key.path):
                assert any(re.search(rf"(^|\.){name}\b|\[kind=", line) for line in lines), (kind, name)
    assert "--keys are those of one kind" in error_line(qdeq("recipes", "--keys"))


def test_what_is_wrong_with_the_model_names_the_recipe_that_asks_for_it() -> None:
    line = error_line(qdeq("fit", "tiny.yaml", "--set", "circuit=qdeq6-amplitude"))
    assert line.startswith("qdeq: tiny.yaml: images of 8×8 pixels")


def test_a_file_that_cannot_be_opened_is_named_without_a_number_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    line = error_line(qdeq("fit", "tiny.yaml", "--out", "loop/run"))
    assert "loop/run" in line
    assert "[Errno" not in line
