"""A run that is killed, wherever that is, ends in the same numbers when it is continued."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from killed_runs import (
    KILLED,
    Moment,
    entries,
    fit_counting,
    in_child,
    logged_steps,
    numbers_of,
    resume_counting,
    small_recipe,
)
from rich.console import Console

from qdeq_qiskit.training import RunDirectory, RunError, TrainingRecipe
from qdeq_qiskit.training.fit import fit, resume

pytestmark = [
    pytest.mark.usefixtures("drawn_quickly"),
    pytest.mark.filterwarnings("ignore::qdeq_qiskit.equilibrium.NotConvergedWarning"),
]


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a whole run does to files, in order."""
    folder = tmp_path_factory.mktemp("counted")
    assert in_child(fit_counting, small_recipe(folder), folder / "run") == 0
    return (folder / "run.steps").read_text().splitlines()


def continued(recipe: TrainingRecipe, out: Path) -> RunDirectory:
    """What the user does after a kill: continue the run, if there is one; else begin it again."""
    if not (out / "recipe.yaml").is_file():
        with pytest.raises(RunError, match=r"no recipe\.yaml\)(: it was interrupted before it had begun|$)"):
            resume(out)
        return fit(recipe, out=out)
    if (out / "report.html").is_file():
        with pytest.raises(RunError, match="the run is finished"):
            resume(out)
        return RunDirectory.open(out)
    return resume(out, console=Console(file=io.StringIO()))


def check_kill(recipe: TrainingRecipe, whole: RunDirectory, out: Path, step: Moment) -> None:
    assert in_child(fit_counting, recipe, out, step) == KILLED
    run = continued(recipe, out)
    assert numbers_of(run) == numbers_of(whole)
    assert entries(run) == entries(whole), "nothing is left over, nothing is missing"
    assert logged_steps(run) == logged_steps(whole), "no epoch is logged twice"


@pytest.mark.filterwarnings("ignore:.*(no checkpoint|is missing)")
@pytest.mark.parametrize("share", [0.02, 0.3, 0.45, 0.6, 0.8, 0.97])
def test_a_run_killed_at_a_write_is_continued_to_the_same_bits(
    recipe: TrainingRecipe, whole: RunDirectory, tmp_path: Path, steps: list[str], share: float
) -> None:
    check_kill(recipe, whole, tmp_path / "run", int(share * len(steps)))


def test_a_run_killed_between_two_checkpoints_is_continued_from_the_earlier_one(
    recipe: TrainingRecipe, whole: RunDirectory, tmp_path: Path
) -> None:
    check_kill(recipe, whole, tmp_path / "run", ("replace last.ckpt", 2))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*(no checkpoint|is missing)")
def test_a_run_may_be_killed_at_every_single_write(
    recipe: TrainingRecipe, whole: RunDirectory, tmp_path: Path, steps: list[str]
) -> None:
    assert len(steps) > 40
    for step in range(len(steps)):
        check_kill(recipe, whole, tmp_path / f"run{step}", step)


def test_a_run_that_is_killed_again_and_again_gets_to_its_end(
    tmp_path: Path, whole: RunDirectory, recipe: TrainingRecipe
) -> None:
    out = tmp_path / "run"
    assert in_child(fit_counting, recipe, out, 20) == KILLED
    for _ in range(2):
        assert in_child(resume_counting, out, 7) == KILLED
    assert numbers_of(continued(recipe, out)) == numbers_of(whole)


SAMPLED = [
    "model.penalty=null",
    "model.solver={kind: newton, tolerance: 0.5, max_iterations: 1}",
    "data.limit=2",
]
KINDS = {
    "angle": ["circuit=qdeq4-angle"],
    "shots": ["backend={kind: shots, shots: 16, seed: 3}", *SAMPLED],
    "noisy": ["backend={kind: noisy, noise: depolarizing, shots: null}", "data.limit=4"],
    "noisy-shots": [
        "backend={kind: noisy, noise: readout, shots: 16, seed: 3}",
        "model={features: {pool: {kernel: 2}}, penalty: null, mode: direct, layers: 2}",
        "data.limit=4",
    ],
    "warm-up": ["model.warmup_steps=3"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_is_continued_to_the_same_bits(tmp_path: Path, kind: str) -> None:
    recipe, out = small_recipe(tmp_path, *KINDS[kind]), tmp_path / "run"
    whole = fit(recipe, out=tmp_path / "whole")
    assert in_child(fit_counting, recipe, out, ("replace previous.ckpt", 1)) == KILLED
    assert len(RunDirectory(out).epochs()) == 2
    assert numbers_of(resume(out)) == numbers_of(whole)


def test_early_stopping_counts_the_epochs_before_the_kill(tmp_path: Path) -> None:
    changes = ["optimisation.epochs=30", "optimisation.learning_rate=1.0", "optimisation.early_stopping_patience=2"]
    recipe, out = small_recipe(tmp_path, *changes), tmp_path / "run"
    whole = fit(recipe, out=tmp_path / "whole")
    epochs = whole.result()["epochs"]
    assert 3 <= epochs < 30
    assert in_child(fit_counting, recipe, out, ("replace last.ckpt", epochs)) == KILLED
    assert numbers_of(resume(out)) == numbers_of(whole)
