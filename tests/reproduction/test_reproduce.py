"""Reproductions: what is there is taken, what is missing is trained, and nothing twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from command_line import error_line, qdeq
from tiny_reproduction import TINY, computed, trained, write_reproduction

from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.reproduction import ReproductionDirectory, reproduce
from qdeq_qiskit.reproduction.work import when_free
from qdeq_qiskit.training import RunDirectory, RunError, TrainingRecipe, load_splits
from qdeq_qiskit.training.checkpoints import KeepCheckpoints
from qdeq_qiskit.training.errors import DataError, RunIsLockedError
from qdeq_qiskit.training.fit import fit

ALL = {"tiny-seed0", "tiny-seed1", "direct-seed0", "direct-seed1", "coherent-seed0"}
pytestmark = pytest.mark.usefixtures("here")


def test_a_reproduction_leaves_every_run_once_and_its_tables(finished: Path) -> None:
    assert Counter(trained(finished)) == Counter(ALL)
    runs, rows = pd.read_csv(finished / "runs.csv"), pd.read_csv(finished / "table.csv")
    assert list(runs["recipe"]) == ["tiny", "tiny", "direct", "direct", "coherent"]
    for run in runs.itertuples():
        result = RunDirectory(finished / "runs" / f"{run.recipe}-seed{run.seed}").result()
        assert run.accuracy == result["test_accuracy"]
        assert run.cpu_seconds == result["cpu_seconds"] > 0
    assert list(rows["status"]) == ["finished"] * 3
    assert list(rows["evaluations"][1:]) == [2, 1], "of a direct model as many as layers, of a coherent one"
    assert (rows["two_qubit_depth"] > 0).all()
    assert rows["two_qubit_depth"][2] > rows["two_qubit_depth"][0] == rows["two_qubit_depth"][1]
    assert {path.suffix for path in (finished / "figures").iterdir()} == {".png", ".svg"}
    assert "| implicit |" in (finished / "table.md").read_text()


def test_the_residual_of_a_direct_row_is_how_far_one_more_layer_would_go(finished: Path) -> None:
    run = RunDirectory(finished / "runs" / "direct-seed0")
    trained_model, recipe = QDEQClassifier.load(run.model), run.recipe()
    splits = load_splits(recipe.data)
    states = []
    for layers in (2, 3):  # another model with these weights
        deeper = recipe.model_copy(update={"model": recipe.model.model_copy(update={"layers": layers})})
        model = QDEQClassifier.from_recipe(deeper.classifier(splits), seed=0).eval()
        model.load_tensors(trained_model.tensors())
        with torch.no_grad():
            states.append(model.solve(torch.from_numpy(splits.test.pixels)).solution.value)
    residuals = (states[1] - states[0]).norm(dim=1) / states[1].norm(dim=1)
    measured = ReproductionDirectory(finished).measures("direct-seed0")
    assert measured is not None
    assert measured["residual"] == pytest.approx(float(residuals.quantile(0.5)), rel=1e-3)
    assert ReproductionDirectory(finished).measures("coherent-seed0") == {"residual": None}
    implicit = RunDirectory(finished / "runs" / "tiny-seed0").result()["median_residual"]
    assert ReproductionDirectory(finished).measures("tiny-seed0") == {"residual": implicit}


def test_the_same_command_again_computes_nothing_and_a_lost_measure_alone(mine: Path) -> None:
    before = computed(mine)
    reproduce(mine.parent / "small.yaml", out=mine)
    assert computed(mine) == before
    (mine / "measured" / "direct-seed1.json").unlink()
    reproduce(mine.parent / "small.yaml", out=mine)
    assert computed(mine) == [*before, "measure-direct-seed1"]


def test_more_tables_and_seeds_are_taken_on_and_finished_runs_stay_in_the_tables(file: Path) -> None:
    out = file.parent / "out"
    assert not reproduce(file, tables=["second"], out=out).failed
    assert trained(out) == ["coherent-seed0"]
    reproduce(file, tables=["first"], seeds=1, out=out)
    assert trained(out) == ["coherent-seed0", "tiny-seed0", "direct-seed0"]
    done = reproduce(file, tables=["second"], seeds=2, out=out)
    assert trained(out)[3:] == ["coherent-seed1"]
    assert [line.planned.row.name for line in done.lines] == ["tiny", "direct", "coherent"], "all that is there"
    assert list(pd.read_csv(out / "table.csv")["seeds"]) == [1, 1, 2]
    assert "## The first table" in (out / "table.md").read_text()
    fewer = reproduce(file, tables=["second"], seeds=1, out=out)
    assert [run["seed"] for run in fewer.lines[-1].runs] == [0, 1], "what is there is not hidden"
    assert len(trained(out)) == 4


def test_failures_of_tables_that_are_not_asked_for_stand_in_their_tables_alone(mine: Path) -> None:
    (mine / "measured" / "tiny-seed1.json").unlink()
    ReproductionDirectory(mine).books.record_failure("run-tiny-seed1", "it broke", "")
    done = reproduce(mine.parent / "small.yaml", tables=["second"], out=mine)
    assert done.failed == []
    assert "- tiny, seed 1, failed: it broke" in (mine / "table.md").read_text()


def test_a_recipe_that_was_changed_since_is_not_shown_with_the_runs_of_before(mine: Path) -> None:
    (mine.parent / "tiny.yaml").write_text(TINY.replace("learning_rate: 0.05", "learning_rate: 0.06"))
    with pytest.raises(RunError, match=r"tiny-seed0 was trained with optimisation\.learning_rate = 0\.05, but the row"):
        reproduce(mine.parent / "small.yaml", tables=["second"], out=mine)


def test_runs_of_qdeq_fit_are_taken_as_they_are(file: Path) -> None:
    out = file.parent / "out"
    made = qdeq("fit", file.parent / "tiny.yaml", "--seed", 1, "--out", out / "runs" / "tiny-seed1")
    assert made.exit_code == 0, made.output
    other = TrainingRecipe.load(file.parent / "tiny.yaml", ["seed=5"])
    fit(other, out=out / "runs" / "tiny-seed5", report=False)
    before = (out / "runs" / "tiny-seed1" / "result.json").read_bytes()
    done = reproduce(file, tables=["first"], out=out)
    assert set(trained(out)) == {"tiny-seed0", "direct-seed0", "direct-seed1"}
    assert (out / "runs" / "tiny-seed1" / "result.json").read_bytes() == before
    assert [run["seed"] for run in done.lines[0].runs] == [0, 1, 5]


def test_an_interrupted_run_is_resumed_from_its_checkpoint(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, keep = file.parent / "out", KeepCheckpoints.on_train_epoch_end

    def stop(self: KeepCheckpoints, trainer: Any, task: Any) -> None:
        keep(self, trainer, task)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(KeepCheckpoints, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt) as interrupt:
            reproduce(file, tables=["second"], out=out)
    assert str(interrupt.value) == (
        f"interrupted; `qdeq reproduce {file} --table second --out {out}` goes on, and trains no finished row again"
    )
    assert "| coherent, 2 layers | not finished | 0 of 1 |" in (out / "table.md").read_text()
    first = (out / "runs" / "coherent-seed0" / "history.csv").read_text().splitlines()
    assert len(first) == 2
    reproduce(file, tables=["second"], out=out)
    history = (out / "runs" / "coherent-seed0" / "history.csv").read_text().splitlines()
    assert history[:2] == first, "its first epoch is the one of before, to its clock"
    assert len(history) == 3


def test_a_run_of_another_recipe_is_refused_before_anything_is_trained(file: Path) -> None:
    out = file.parent / "out"
    other = TrainingRecipe.load(file.parent / "direct.yaml", ["optimisation.epochs=1"])
    fit(other, out=out / "runs" / "direct-seed0", report=False)
    line = error_line(qdeq("reproduce", file, "--out", out))
    path = (out / "runs" / "direct-seed0").resolve()
    assert f"{path} was trained with optimisation.epochs = 1, but the row has 2" in line
    assert "moved away" in line
    assert trained(out) == []
    described = other.model_copy(update={"description": "called otherwise"})
    assert reproduce(file, tables=["second"], out=out).failed == [], "rows that are not asked for are not looked at"
    assert described.description != other.description


def test_a_run_on_other_images_is_refused(mine: Path) -> None:
    origin = json.loads((mine / "runs" / "tiny-seed0" / "run.json").read_text())
    origin["data"]["test"] = "0" * 64
    (mine / "runs" / "tiny-seed0" / "run.json").write_text(json.dumps(origin))
    with pytest.raises(RunError, match=r"tiny-seed0 was trained with other images or labels \(test\)"):
        reproduce(mine.parent / "small.yaml", out=mine)


def test_data_that_are_not_there_are_named_with_their_row_before_anything_is_trained(tmp_path: Path) -> None:
    file = write_reproduction(tmp_path)
    (tmp_path / "coherent.yaml").write_text(TINY.replace("{name: digits,", "{name: mnist,"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"^coherent: .*there is no such file"):
        reproduce(file, out=tmp_path / "out", data_dir=tmp_path / "empty")
    assert not (tmp_path / "out").exists()


def test_parts_that_do_not_fit_are_named_with_their_row_before_anything_is_trained(tmp_path: Path) -> None:
    file = write_reproduction(tmp_path)
    (tmp_path / "coherent.yaml").write_text(TINY.replace("qdeq4-amplitude", "qdeq6-amplitude"))
    line = error_line(qdeq("reproduce", file, "--out", tmp_path / "out"))
    assert line.startswith("qdeq: coherent: images of 8×8 pixels")
    assert not (tmp_path / "out").exists()


def test_a_row_that_fails_is_listed_the_others_go_on_and_it_is_tried_again(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = file.parent / "out"

    def measured(run: RunDirectory, data_dir: Path | None) -> dict[str, Any]:
        if "tiny" in run.path.name:
            raise ValueError("it broke")
        return {"residual": None}

    with monkeypatch.context() as patched:
        patched.setattr("qdeq_qiskit.reproduction.work.measure", measured)
        result = qdeq("reproduce", file, "--table", "first", "--seeds", 1, "--out", out)
    assert result.exit_code == 1, result.output
    assert "1 task failed: tiny, seed 0: ValueError: it broke; the same command tries it again" in result.stderr
    assert trained(out) == ["tiny-seed0", "direct-seed0"]
    assert "| implicit | failed | 0 of 1 |" in (out / "table.md").read_text()
    again = qdeq("reproduce", file, "--table", "first", "--seeds", 1, "--out", out)
    assert again.exit_code == 0, again.output
    assert trained(out) == ["tiny-seed0", "direct-seed0"], "the training itself had not failed"
    assert "failed" not in (out / "table.md").read_text()


def test_one_process_at_a_time_is_at_work_in_a_folder(mine: Path) -> None:
    with ReproductionDirectory(mine).books.claimed():
        line = error_line(qdeq("reproduce", mine.parent / "small.yaml", "--out", mine))
    assert "another process is running this reproduction" in line


def test_a_folder_of_something_else_is_left_alone(mine: Path, file: Path) -> None:
    assert "give another folder with --out" in error_line(qdeq("reproduce", file, "--quick", "--out", mine))
    assert "is a file" in error_line(qdeq("reproduce", file, "--out", file))
    line = error_line(qdeq("reproduce", file, "--out", file.parent))
    assert "holds coherent.yaml, but no reproduction.json" in line
    (file.parent / "runs").mkdir()
    (file.parent / "table.md").touch()
    assert "holds table.md, but no reproduction.json" in error_line(qdeq("reproduce", file, "--out", file.parent))
    other = file.rename(file.with_name("other.yaml"))
    assert "holds the reproduction of 'small'" in error_line(qdeq("reproduce", other, "--out", mine))


def test_without_training_the_tables_are_of_what_is_there(file: Path) -> None:
    out = file.parent / "out"
    fit(TrainingRecipe.load(file.parent / "direct.yaml"), out=out / "runs" / "direct-seed0", report=False)
    result = qdeq("reproduce", file, "--no-training", "--out", out)
    assert result.exit_code == 0, result.output
    assert "3 of 3 rows lack a run or more" in result.stdout
    assert trained(out) == []
    assert "| direct, 2 layers | " in (out / "table.md").read_text()
    assert list(pd.read_csv(out / "table.csv")["seeds"]) == [0, 1, 0]


def test_a_lock_that_is_let_go_is_waited_for_and_one_that_is_not_is_an_error() -> None:
    tries = iter([RunIsLockedError("locked"), RunIsLockedError("locked"), None])

    def work() -> None:
        error = next(tries)
        if error is not None:
            raise error

    when_free(work, seconds=30)
    assert next(tries, "all used") == "all used"

    def locked() -> None:
        raise RunIsLockedError("locked")

    with pytest.raises(RunIsLockedError):
        when_free(locked, seconds=0)
