"""Whole studies: what they leave behind, that nothing finished is done again, and what a cell's figures are."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_studies import STUDY, computed, planned, write_study

from qdeq_qiskit.backends.kinds import BACKENDS
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.noise import NoiseRecipe
from qdeq_qiskit.studies.directory import StudyDirectory
from qdeq_qiskit.studies.study import resume_study, run_study
from qdeq_qiskit.studies.work import compute
from qdeq_qiskit.training import Evaluation, RunError, load_splits

QDEQ = [sys.executable, "-m", "qdeq_qiskit.cli"]


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def workers_of(directory: Path) -> set[int]:
    journal = directory / "journal.jsonl"
    return {json.loads(line)["pid"] for line in journal.read_text().splitlines()} if journal.exists() else set()


def wait_until(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_study_leaves_every_cell_in_both_tables_once(finished: Path) -> None:
    plan = planned(finished)
    parquet, text = pd.read_parquet(finished / "table.parquet"), pd.read_csv(finished / "table.csv")
    # Three models (one with two seeds) × (the exact and ideal reference, and 2 scales × exact or 64 shots).
    assert len(plan.cells) == 3 * (1 + 2 * 2) == len(parquet) == len(text)
    assert [cell.key for cell in plan.cells] == list(parquet["key"])
    labels = parquet[["model", "training_seed", "noise", "scale", "shots"]]
    assert not labels.duplicated().any()
    np.testing.assert_allclose(parquet["accuracy"], text["accuracy"])
    assert set(computed(finished)) == {cell.key for cell in plan.cells} | {
        "train-implicit-seed3",
        "train-implicit-seed4",
        "train-direct_two-seed3",
    }
    assert max(Counter(computed(finished)).values()) == 1


def test_a_cell_is_what_the_model_does_on_that_backend(finished: Path) -> None:
    table = pd.read_parquet(finished / "table.parquet")
    row = table[(table["model"] == "implicit") & (table["training_seed"] == 4) & (table["scale"] == 4)]
    row = row[row["shots"].isna()].iloc[0]
    model = finished / "runs" / "implicit-seed4" / "model"
    noise = NoiseRecipe.load("depolarizing").scaled(4)
    noisy = QDEQClassifier.load(model, backend=BACKENDS["noisy"](noise=noise))
    ideal = QDEQClassifier.load(model)
    recipe = planned(finished).models[1].recipe
    images = load_splits(recipe.data).test.sample(20, seed=recipe.data.split_seed)
    with torch.no_grad():
        there, here = noisy.solve(torch.from_numpy(images.pixels)), ideal.solve(torch.from_numpy(images.pixels))
    predicted = there.labels.numpy()
    assert row["accuracy"] == pytest.approx((predicted == images.labels).mean())
    assert row["same_prediction"] == pytest.approx((predicted == here.labels.numpy()).mean())
    for name, label in (("0", 0), ("3", 1), ("6", 2)):
        chosen = images.labels == label
        assert row[f"accuracy_of_{name}"] == pytest.approx((predicted[chosen] == label).mean())
    with torch.no_grad():
        led_to = noisy.equilibrium(noisy.features(torch.from_numpy(images.pixels)), here.solution.value)
    # Noisy maps jump where an encoder's angle does, and may have a root on either side.
    apart = (there.solution.value - led_to.value).norm(dim=1) / led_to.value.norm(dim=1)
    stayed = apart < 1e-3
    assert ((apart < 1e-3) | (apart > 1.1e-2)).all(), "no sample is near the threshold of 100 tolerances"
    assert row["branch_changes"] == int((~stayed).sum())
    moved = (there.solution.value - here.solution.value).norm(dim=1)[stayed]
    lifted = (there.solution.state - here.solution.state).norm(dim=1)[stayed]
    assert row["displacement"] == pytest.approx(float(moved.quantile(0.5)), rel=1e-3)
    assert row["displacement_z"] == pytest.approx(float(lifted.quantile(0.5)), rel=1e-3)
    # Average infidelity of Qiskit's two-qubit depolarising channel of parameter 4 × 1%.
    assert row["two_qubit_error"] == pytest.approx(0.75 * 0.04)
    assert row["sequential_two_qubit_depth"] == pytest.approx(row["two_qubit_depth"] * row["evaluations"])


def test_a_classifier_that_is_built_once_gives_every_seed_its_own_figures(study: StudyDirectory) -> None:
    cells = [
        cell
        for cell in planned(study.path).cells
        if cell.model.name == "implicit" and cell.condition.scale == 4 and cell.condition.shots is None
    ]
    assert {cell.model.seed for cell in cells} == {3, 4}
    before = [study.row(cell.key) for cell in cells]
    for cell in cells:  # in one process, one after the other
        (study.cells / f"{cell.key}.json").unlink()
        compute(cell, study)
    for old, new in zip(before, [study.row(cell.key) for cell in cells], strict=True):
        assert old is not None
        assert new is not None
        assert new["class_accuracy"] == old["class_accuracy"]
        assert new["displacement"] == pytest.approx(old["displacement"], rel=1e-3)
    assert before[0]["displacement"] != pytest.approx(before[1]["displacement"], rel=1e-2)  # type: ignore[index]


def test_arrays_of_every_sample_are_kept_beside_a_cells_figures(finished: Path) -> None:
    directory = StudyDirectory(finished)
    for cell in planned(finished).cells:
        outcome, row = Evaluation.load(directory.arrays(cell.key)), directory.row(cell.key)
        assert row is not None
        assert len(outcome.labels) == 20
        assert outcome.accuracy == row["accuracy"]


@pytest.mark.usefixtures("without_report")
def test_a_finished_study_computes_nothing_again_and_a_lost_cell_alone(study: StudyDirectory) -> None:
    before = len(computed(study.path))
    assert resume_study(study.path).missing == []
    assert len(computed(study.path)) == before
    victim = planned(study.path).cells[5].key
    (study.cells / f"{victim}.json").write_text('{"accuracy": 0.9, "half')  # as a dying machine may leave it
    assert resume_study(study.path, workers=1).missing == []
    assert computed(study.path)[before:] == [victim]


def test_one_process_at_a_time_runs_a_study(study: StudyDirectory) -> None:
    with study.books.claimed(), pytest.raises(RunError, match="another process is running this study"):
        resume_study(study.path)


def test_a_folder_that_is_taken_is_not_touched_and_a_missing_study_is_named(study: StudyDirectory) -> None:
    with pytest.raises(RunError, match=r"never overwritten; `qdeq study --resume"):
        run_study(study.path / "study.yaml", out=study.path)
    with pytest.raises(RunError, match="there is no such study folder"):
        resume_study(study.path / "nowhere")
    with pytest.raises(RunError, match="holds no study"):
        resume_study(study.cells)


@pytest.mark.slow
def test_a_cell_that_raises_is_recorded_listed_and_tried_again(study: StudyDirectory) -> None:
    plan = planned(study.path)
    victim = next(cell for cell in plan.cells if cell.model.name == "direct two" and cell.condition.shots)
    (study.cells / f"{victim.key}.json").unlink()
    weights = study.path / "runs" / "direct_two-seed3" / "model" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:100])
    result = subprocess.run([*QDEQ, "study", "--resume", study.path], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith(f"qdeq: 1 task failed: {victim.title}: SetupError: ")
    assert "is not a whole safetensors file" in line
    page = study.report.read_text()
    assert victim.title in page
    assert "missing from this report" in page
    weights.write_bytes(content)
    assert resume_study(study.path, workers=1).missing == []
    assert "missing from this report" not in study.report.read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("without_report")
def test_runs_that_are_there_are_taken_as_they_are(finished: Path, tmp_path: Path) -> None:
    run = finished / "runs" / "implicit-seed3"
    text = f"{{models: [{{name: mine, runs: {run}}}], noise: [readout], samples: 20}}"
    (tmp_path / "given.yaml").write_text(text)
    before = (run / "model" / "model.safetensors").stat().st_mtime_ns
    answer = run_study(tmp_path / "given.yaml", out=tmp_path / "given", workers=1)
    directory, table = answer.directory, pd.read_parquet(answer.directory.table.with_suffix(".parquet"))
    assert list(answer.table["key"]) == list(table["key"])
    assert list(table["noise"]) == ["ideal", "readout"]
    assert (run / "model" / "model.safetensors").stat().st_mtime_ns == before
    assert not any(directory.runs.iterdir())
    whole = pd.read_parquet(finished / "table.parquet")
    same = whole[(whole["model"] == "implicit") & (whole["training_seed"] == 3) & (whole["noise"] == "ideal")]
    assert table["accuracy"].iloc[0] == same["accuracy"].iloc[0]


@pytest.mark.slow
@pytest.mark.usefixtures("without_report")
def test_a_killed_study_leaves_no_process_and_goes_on_without_repeating_anything(tmp_path: Path) -> None:
    write_study(tmp_path)
    out = tmp_path / "out"
    command = [*QDEQ, "study", "study.yaml", "--out", "out", "--workers", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: len(computed(out)) >= 6)
    process.kill()
    process.wait()
    wait_until(lambda: not any(map(alive, workers_of(out))), 20)
    done = computed(out)
    rows = {path.stem: path.read_bytes() for path in (out / "cells").glob("*.json")}
    assert resume_study(out, workers=2).missing == []
    plan, after = planned(out), Counter(computed(out))
    assert set(after) == {cell.key for cell in plan.cells} | {f"train-{model.run.name}" for model in plan.models}
    assert len(done) < len(after), "it was killed too late to show anything"
    assert max(after.values()) == 1
    assert all((out / "cells" / f"{key}.json").read_bytes() == content for key, content in rows.items())


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    write_study(tmp_path)
    command = [*QDEQ, "study", "study.yaml", "--out", "out", "--workers", "1"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_until(lambda: len(computed(tmp_path / "out")) >= 2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    path = (tmp_path / "out").resolve()
    expected = f"qdeq: interrupted; `qdeq study --resume {path}` goes on, and repeats nothing that is finished"
    assert errors.strip().splitlines() == [expected]


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """A dask scheduler with two workers under nannies, as one starts them by hand."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": environment, "cwd": tmp_path}
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    processes = [
        subprocess.Popen(
            [*dask, "scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)],
            **quiet,  # type: ignore[call-overload]
        )
    ]
    try:
        wait_until(file.is_file)
        address = json.loads(file.read_text())["address"]
        worker = [*dask, "worker", address, "--nworkers", "2", "--nthreads", "1", "--no-dashboard"]
        processes.append(subprocess.Popen(worker, **quiet))  # type: ignore[call-overload]
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=30)


@pytest.mark.slow
def test_on_a_running_scheduler_a_killed_worker_costs_nothing_but_its_own_cell(scheduler: str, tmp_path: Path) -> None:
    write_study(tmp_path, STUDY.replace("shots: [null, 64]", "shots: [null, 64, 128, 256]"))
    out = tmp_path / "out"
    process = subprocess.Popen(
        [*QDEQ, "study", "study.yaml", "--out", "out", "--scheduler", scheduler],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_until(lambda: len(computed(out)) >= 5)
    victim = json.loads((out / "journal.jsonl").read_text().splitlines()[-1])
    os.kill(victim["pid"], signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    plan, after = planned(out), Counter(computed(out))
    assert set(after) == {cell.key for cell in plan.cells} | {f"train-{model.run.name}" for model in plan.models}
    repeated = {key for key, count in after.items() if count > 1}
    assert repeated <= {victim["key"]}  # which was in the journal, but perhaps not yet in its file
    assert len(workers_of(out)) >= 2
    assert not list(out.glob(".token*"))
