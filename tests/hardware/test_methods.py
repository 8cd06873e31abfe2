"""What methods other than circuits do: training on the processor, and the surrogate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from trained_recipe import TRAINING

from qdeq_qiskit.backends.kinds import load_backend
from qdeq_qiskit.backends.surrogate import MeasuredOperators
from qdeq_qiskit.hardware import Order, Solved, make_plan, resume, submit
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.data.datasets import load_splits
from qdeq_qiskit.training.errors import SetupError
from qdeq_qiskit.training.evaluation import Evaluation, evaluate
from qdeq_qiskit.training.fit import fit
from qdeq_qiskit.training.recipe import TrainingRecipe
from qdeq_qiskit.training.run_directory import RunDirectory

BreaksAt = Callable[[int], list[int]]
pytestmark = pytest.mark.usefixtures("without_report")


def tuning(run: Path, backend: str, **changes: object) -> Order:
    options = {"steps": 2, "gradient": "spsa", "learning_rate": 0.1, "test_samples": 3} | changes
    return Order(run, backend, 4, "tune", **options)  # type: ignore[arg-type]


def tuned_weight(run: Path) -> torch.Tensor:
    return QDEQClassifier.load(run / "hardware" / "1" / "model").weight.detach()


def test_tuning_moves_the_weights_and_leaves_a_model_that_runs_anywhere(run: Path, manila: str) -> None:
    before = QDEQClassifier.load(run / "model")
    result = submit(make_plan(tuning(run, manila))).result
    after = QDEQClassifier.load(run / "hardware" / "1" / "model")
    assert after.backend == before.backend
    # Adam's first steps are of the size of its learning rate, whatever the gradient's size is.
    moved = (after.weight - before.weight).detach().abs()
    assert 0.05 < float(moved.max()) <= 0.21
    assert result["tuning"]["steps"] == len(result["tuning"]["loss"]) == 2
    assert not result["tuning"]["stopped_by_budget"]
    assert result["samples"] == 3
    assert 0 <= result["tuning"]["before"]["accuracy"] <= 1


@pytest.mark.slow
def test_a_step_follows_the_gradient_of_the_processors_own_loss(run: Path, manila: str, tmp_path: Path) -> None:
    # Precise fixed points: an entry on the wrong side of the head's ReLU has another gradient.
    (tmp_path / "many.yaml").write_text(
        "{kind: ibm, name: fake_manila, shots: 8192, seed: 3, optimization_level: 1,"
        " solver: {kind: sampled, jacobian: noiseless, precision: 0.005, max_shots: 20000000}}"
    )
    before = QDEQClassifier.load(run / "model")
    order = tuning(run, str(tmp_path / "many.yaml"), steps=1, gradient="parameter_shift")
    submit(make_plan(order))
    moved = tuned_weight(run) - before.weight.detach()
    recipe = RunDirectory.open(run).recipe()
    images = load_splits(recipe.data).train.sample(4, seed=recipe.data.split_seed)
    snapshot = load_backend("snapshot_manila", ["shots=null", "precision=double", "optimization_level=1"])
    noisy = QDEQClassifier.load(run / "model", backend=snapshot)
    logits = noisy.classify(noisy.features(torch.from_numpy(images.pixels))).logits
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(images.labels)).backward()
    slope = noisy.weight.grad
    assert slope is not None
    clear = slope.abs() > 0.3 * slope.abs().max()
    assert int(clear.sum()) >= 3
    assert (moved[clear].sign() == -slope[clear].sign()).all()


def test_an_interrupted_tuning_ends_in_the_same_weights(
    run: Path, trained: Path, manila: str, tmp_path: Path, breaks_at: BreaksAt, interrupted: Callable[[Order, int], int]
) -> None:
    plan = make_plan(tuning(run, manila))
    handed_in = breaks_at(-1)
    submit(plan)
    whole = len(handed_in)
    other = Path(shutil.copytree(trained, tmp_path / "other"))
    before = interrupted(tuning(other, manila), 2 * whole // 3)
    after = breaks_at(-1)
    (ended,) = resume(other)
    assert isinstance(ended, Solved)
    assert before + len(after) == whole
    torch.testing.assert_close(tuned_weight(other), tuned_weight(run), rtol=0, atol=0)


@pytest.mark.slow
def test_a_tuning_that_its_budget_stops_keeps_the_steps_that_it_took(run: Path, manila: str) -> None:
    free = submit(make_plan(tuning(run, manila, steps=4))).result
    seconds = 0.6 * free["used"]["formula_seconds"]
    result = submit(make_plan(tuning(run, manila, steps=4, max_qpu_seconds=seconds))).result
    assert result["tuning"]["stopped_by_budget"]
    assert 0 < result["tuning"]["steps"] < 4
    assert result["used"]["formula_seconds"] <= seconds
    assert "the budget stopped it" in " ".join(result["sentences"])
    assert result["tuning"]["loss"] == free["tuning"]["loss"][: result["tuning"]["steps"]]


def test_the_surrogate_finds_the_fixed_points_of_an_ideal_encoder_before_the_noisy_rest(
    run: Path, tmp_path: Path
) -> None:
    (tmp_path / "many.yaml").write_text("{kind: ibm, name: fake_manila, shots: 512, seed: 3, optimization_level: 1}")
    result = submit(make_plan(Order(run, str(tmp_path / "many.yaml"), 5, "surrogate"))).result
    found = Evaluation.load(run / "hardware" / "1" / "test.safetensors")
    recipe = RunDirectory.open(run).recipe()
    images = load_splits(recipe.data).test.sample(5, seed=recipe.data.split_seed)
    changes = ["precision=double", "optimization_level=1", "encoder_noise=false"]
    target = evaluate(QDEQClassifier.load(run / "model", backend=load_backend("snapshot_manila", changes)), images)
    # Half-widths are 95%: three of them are six standard deviations.
    assert (np.abs(found.state - target.state).max(axis=1) < 3 * found.half_width).all()
    assert result["used"]["circuits"] == 256
    assert result["offset"]["expected"]["median_displacement"] > 0
    assert result["offset"]["found"] is None
    assert MeasuredOperators.load(run / "hardware" / "1" / "operators.safetensors").operators.shape == (4, 16, 16)


def test_the_offset_to_circuits_is_told_where_both_were_run(run: Path, manila: str) -> None:
    submit(make_plan(Order(run, manila, 3)))
    both = submit(make_plan(Order(run, manila, 3, "surrogate"))).result
    assert both["offset"]["found"]["samples"] == 3


def test_what_has_no_surrogate_is_refused_in_one_sentence(tmp_path: Path, manila: str) -> None:
    recipe = TRAINING.replace("qdeq4-amplitude", "qdeq4-angle").replace("epochs: 3", "epochs: 1")
    (tmp_path / "angles.yaml").write_text(recipe)
    run = fit(TrainingRecipe.load(tmp_path / "angles.yaml"), out=tmp_path / "angles", report=False).path
    with pytest.raises(SetupError, match="angle"):
        make_plan(Order(run, manila, 3, "surrogate"))
