"""Optimisers, schedules of the learning rate and of the penalty, and spectral radii, as recipes ask for them."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from qdeq_qiskit.equilibrium import Newton, spectral_radius
from qdeq_qiskit.models import PenaltySchedule, QDEQClassifier
from qdeq_qiskit.recipes import RecipeError
from qdeq_qiskit.training import OptimisationRecipe, RunDirectory, RunError, SetupError, TrainingRecipe, load_splits
from qdeq_qiskit.training.checkpoints import KeepCheckpoints
from qdeq_qiskit.training.fit import fit, resume
from qdeq_qiskit.training.in_memory import train

TIMES = ("seconds", "train_seconds", "cpu_seconds")
STEPS = 3  # in an epoch of the tiny run, which has four


def rows(directory: RunDirectory) -> list[dict[str, str]]:
    with directory.history.open() as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def trained(file: Path, *options: str) -> tuple[list[dict[str, Any]], dict[str, torch.Tensor]]:
    """History and weights of the tiny run in memory, without dropout."""
    recipe = TrainingRecipe.load(file, ["model.dropout=0", *options])
    splits = load_splits(recipe.data)
    model = QDEQClassifier.from_recipe(recipe.classifier(splits), seed=recipe.seed)
    done = train(model, splits.train, valid=splits.valid, optimisation=recipe.optimisation, seed=recipe.seed)
    return done.history, model.tensors()


def rates(file: Path, schedule: str, epochs: int = 4) -> list[float]:
    """The learning rates at the beginnings of a run's epochs."""
    history, _ = trained(file, f"optimisation.schedule={schedule}", f"optimisation.epochs={epochs}")
    return [row["learning_rate"] for row in history]


def cosine(k: int, length: int, least: float = 0.0) -> float:
    return least + (0.05 - least) * (1 + math.cos(math.pi * k / length)) / 2


def rising(k: int, length: int, first: float = 0.1) -> float:
    return 0.05 * (first + (1 - first) * min(k, length) / length)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("null", lambda e: 0.05),
        ("{kind: cosine}", lambda e: cosine(e, 4)),
        ("{kind: cosine, T_max: 2, eta_min: 0.01}", lambda e: cosine(e, 2, 0.01)),
        ("{kind: cosine, interval: step}", lambda e: cosine(STEPS * e, STEPS * 4)),
        ("{kind: step, step_size: 2, gamma: 0.5}", lambda e: 0.05 * 0.5 ** (e // 2)),
        ("{kind: exponential, gamma: 0.9}", lambda e: 0.05 * 0.9**e),
        ("{kind: exponential, gamma: 0.9, interval: step}", lambda e: 0.05 * 0.9 ** (STEPS * e)),
        ("{kind: constant, warmup: {total_iters: 2, start_factor: 0.5}}", lambda e: rising(e, 2, 0.5)),
        ("{kind: cosine, warmup: {total_iters: 2}}", lambda e: rising(e, 2) if e < 2 else cosine(e - 2, 2)),
        (
            "{kind: step, step_size: 4, interval: step, warmup: {total_iters: 5}}",
            lambda e: rising(STEPS * e, 5) if STEPS * e < 5 else 0.05 * 0.1 ** ((STEPS * e - 5) // 4),
        ),
    ],
)
def test_a_schedules_rates_are_those_of_its_formula(schedule: str, expected: Any, tiny_file: Path) -> None:
    assert rates(tiny_file, schedule) == pytest.approx([expected(epoch) for epoch in range(4)], rel=1e-12)


def test_a_plateau_lowers_the_rate_after_as_many_epochs_without_a_better_loss(
    tiny_file: Path,
) -> None:
    # No loss is better by half: the first is the best, the next two are put up with or not.
    schedule = "{kind: plateau, patience: 1, threshold: 0.5, factor: 0.2}"
    found = rates(tiny_file, schedule, epochs=6)
    assert found == pytest.approx([0.05, 0.05, 0.05, 0.01, 0.01, 0.002], rel=1e-12)


@pytest.mark.parametrize(
    "options",
    [
        ["optimisation.schedule={kind: plateau, patience: 0, threshold: 0.5, warmup: {total_iters: 2}}"],
        [
            "optimisation.schedule={kind: cosine, interval: step, warmup: {total_iters: 4}}",
            "optimisation.optimiser={kind: sgd, momentum: 0.9, nesterov: true, weight_decay: 0.001}",
            "model.penalty.schedule={kind: cosine, epochs: 3}",
            "optimisation.track_spectral_radius=true",
            "model.test_solver={kind: newton, tolerance: 1.0e-6}",
        ],
        [
            "optimisation.schedule={kind: exponential, gamma: 0.8, warmup: {total_iters: 2}}",
            "optimisation.optimiser={kind: rmsprop, momentum: 0.5, centered: true}",
        ],
    ],
)
def test_a_run_that_stopped_amid_a_schedule_ends_as_if_it_had_not(
    options: list[str], tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_report: None
) -> None:
    recipe = TrainingRecipe.load(tiny_file, options)
    whole = fit(recipe, out=tmp_path / "whole")
    keep = KeepCheckpoints.on_train_epoch_end

    def interrupted(self: KeepCheckpoints, trainer: Any, task: Any) -> None:
        keep(self, trainer, task)
        if len(task.history) in (1, 2, 3):
            raise KeyboardInterrupt

    monkeypatch.setattr(KeepCheckpoints, "on_train_epoch_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit(recipe, out=tmp_path / "parts")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            resume(tmp_path / "parts")
    parts = resume(tmp_path / "parts")
    assert rows(parts) == rows(whole)
    one, two = (load_file(run.model / "model.safetensors") for run in (parts, whole))
    assert all(torch.equal(one[name], two[name]) for name in two)


def test_old_recipes_take_the_steps_of_fused_adam(tiny: TrainingRecipe) -> None:
    weight = torch.nn.Parameter(torch.tensor([1.0, 2.0]))
    optimiser = tiny.optimisation.optimiser.make([weight], 0.05)
    assert type(optimiser) is torch.optim.Adam
    assert {**optimiser.defaults, "fused": True} == optimiser.defaults
    assert {key: optimiser.defaults[key] for key in ("lr", "betas", "eps", "weight_decay")} == {
        "lr": 0.05, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        # By hand, from the gradient 1 twice, the weight 1 and the rate 0.1.
        ({"kind": "sgd"}, [0.9, 0.8]),
        ({"kind": "sgd", "momentum": 0.5}, [0.9, 0.9 - 0.1 * 1.5]),
        ({"kind": "sgd", "momentum": 0.5, "nesterov": True}, [1 - 0.1 * 1.5, 0.85 - 0.1 * (1 + 0.5 * 1.5)]),
        ({"kind": "sgd", "weight_decay": 1.0}, [0.8, 0.8 - 0.1 * 1.8]),
        ({"kind": "adam"}, [0.9, 0.8]),
        ({"kind": "adamw", "weight_decay": 1.0}, [0.9 * 1 - 0.1, 0.9 * 0.8 - 0.1]),
        ({"kind": "rmsprop", "alpha": 0.75}, [1 - 0.1 / 0.5, 0.8 - 0.1 / math.sqrt(0.75 * 0.25 + 0.25)]),
    ],
)
def test_an_optimisers_steps_are_those_of_its_formula(options: dict[str, Any], steps: list[float]) -> None:
    weight = torch.nn.Parameter(torch.ones((), dtype=torch.double))
    recipe = OptimisationRecipe.model_validate({"optimiser": options, "learning_rate": 0.1})
    optimiser = recipe.optimiser.make([weight], recipe.learning_rate)
    found = []
    for _ in steps:
        weight.grad = torch.ones_like(weight)
        optimiser.step()
        found.append(weight.item())
    assert found == pytest.approx(steps, abs=1e-6)


@pytest.mark.parametrize(
    ("kind", "factors"),
    [
        ("linear", [0.5, 1.0, 1.5, 2.0, 2.5, 2.5]),
        ("step", [0.5, 0.5, 0.5, 0.5, 2.5, 2.5]),
        ("cosine", [0.5, 1.5 - math.sqrt(0.5), 1.5, 1.5 + math.sqrt(0.5), 2.5, 2.5]),
    ],
)
def test_the_penaltys_factor_goes_from_start_to_end(kind: Any, factors: list[float]) -> None:
    schedule = PenaltySchedule(kind=kind, start=0.5, end=2.5, epochs=4)
    assert [schedule.factor(epoch) for epoch in range(6)] == pytest.approx(factors, abs=1e-12)


def test_a_penalty_that_is_switched_on_late_trains_without_it_until_then(tiny_file: Path) -> None:
    late, _ = trained(tiny_file, "model.penalty.schedule={kind: step, epochs: 2}")
    without, _ = trained(tiny_file, "model.penalty=null")
    assert [row["penalty_weight"] for row in late] == [0.0, 0.0, 0.8, 0.8]
    assert "penalty_weight" not in without[0]
    for one, other in zip(late[:2], without[:2], strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)
    assert late[2]["train_loss"] > without[2]["train_loss"] + 0.01


def test_a_factor_of_one_is_a_constant_weight_to_the_last_bit(tiny_file: Path) -> None:
    _, plain = trained(tiny_file)
    _, scheduled = trained(tiny_file, "model.penalty.schedule={start: 1, end: 1, epochs: 2}")
    assert all(torch.equal(plain[name], scheduled[name]) for name in plain)


def test_tracked_radii_are_those_of_differences_at_the_validation_equilibria(tiny_file: Path) -> None:
    recipe = TrainingRecipe.load(
        tiny_file, ["optimisation.track_spectral_radius=true", "optimisation.epochs=1", "backend.precision=double"]
    )
    splits = load_splits(recipe.data)
    model = QDEQClassifier.from_recipe(recipe.classifier(splits), seed=recipe.seed)
    history = train(model, splits.train, valid=splits.valid, optimisation=recipe.optimisation).history
    features = model.features(torch.from_numpy(splits.valid.pixels))
    f, w = model.equilibrium.map(features).value, model.equilibrium(features).value.detach()
    with torch.no_grad():
        columns = [(f(w + h) - f(w - h)) / 2e-5 for h in 1e-5 * torch.eye(w.shape[1], dtype=w.dtype)]
    radii = spectral_radius(torch.stack(columns, dim=2))
    assert history[0]["valid_spectral_radius"] == pytest.approx(float(radii.median()), rel=1e-3)
    assert history[0]["valid_spectral_radius_max"] == pytest.approx(float(radii.max()), rel=1e-3)


def test_validation_takes_the_solver_for_testing_and_training_its_own(tiny_file: Path) -> None:
    plain, weights = trained(tiny_file)
    tight, same = trained(tiny_file, "model.test_solver={kind: newton, tolerance: 1.0e-7}", "backend.precision=single")
    assert all(torch.equal(weights[name], same[name]) for name in weights)
    for one, other in zip(plain, tight, strict=True):
        assert one["train_residual"] == other["train_residual"]
        assert other["valid_residual"] < 1e-6
        assert other["valid_iterations"] > one["valid_iterations"]


def test_learning_curves_have_a_panel_of_radii_where_they_were_tracked(run: RunDirectory) -> None:
    from qdeq_qiskit.training.report import figures

    history = run.epochs()
    tracked = [row | {"valid_spectral_radius": 0.5, "valid_spectral_radius_max": 0.9} for row in history]
    shown = [figures.learning_curves(each, best_epoch=1, control=None) for each in (history, tracked)]
    assert [len(figure.axes) for figure in shown] == [3, 4]


@pytest.mark.slow
def test_a_report_shows_the_solver_for_testing_and_the_model_is_saved_with_it(tiny_file: Path, tmp_path: Path) -> None:
    options = ["optimisation.track_spectral_radius=true", "model.test_solver={kind: newton, tolerance: 1.0e-6}"]
    run = fit(TrainingRecipe.load(tiny_file, [*options, "optimisation.epochs=2"]), out=tmp_path / "run")
    assert "solver of validation and test" in run.report.read_text(encoding="utf-8")
    assert QDEQClassifier.load(run.model).equilibrium.current_solver == Newton(tolerance=1e-6)


def test_a_cosine_over_all_of_a_run_is_not_continued_to_more_epochs(
    tiny_file: Path, tmp_path: Path, without_report: None
) -> None:
    recipe = TrainingRecipe.load(tiny_file, ["optimisation.schedule={kind: cosine}", "optimisation.epochs=1"])
    run = fit(recipe, out=tmp_path / "run")
    more = recipe.model_copy(update={"optimisation": recipe.optimisation.model_copy(update={"epochs": 2})})
    with pytest.raises(RunError, match=r"T_max is null.*cannot be continued to 2"):
        resume(run.path, recipe=more)


def test_history_from_before_there_was_a_column_is_written_with_a_gap(run: RunDirectory) -> None:
    from qdeq_qiskit.training.checkpoints import write_history

    history = run.epochs()
    del history[0]["learning_rate"]
    write_history(run, history)
    assert math.isnan(run.epochs()[0]["learning_rate"])
    assert run.epochs()[1]["learning_rate"] == 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["optimisation.optimiser={kind: adm}"], r"optimiser: kind is 'adm'; did you mean 'adam'"),
        (["optimisation.optimiser=sgd"], r"optimiser: 'sgd' is not valid; expected a mapping, such as {kind: sgd}"),
        (["optimisation.optimiser={kind: sgd, betas: [0.9, 0.9]}"], r"optimiser.betas: unknown key 'betas'"),
        (["optimisation.optimiser={kind: sgd, nesterov: true}"], r"nesterov needs momentum greater than 0"),
        (
            ["optimisation.optimiser={kind: adam, betas: [0.9, 1]}"],
            r"betas.1: 1 is not valid; expected a number less than 1",
        ),
        (["optimisation.schedule={kind: step}"], r"schedule.step_size: this key is missing"),
        (
            ["optimisation.schedule={kind: cosine, T_max: 0}"],
            r"T_max: 0 is not valid; expected a number greater than or equal to 1",
        ),
        (["optimisation.schedule={kind: cosine, warmup: {steps: 3}}"], r"warmup.steps: unknown key 'steps'"),
        (["model.penalty.schedule={kind: linear}"], r"penalty.schedule.epochs: this key is missing"),
        (["model.test_solver={kind: newtn}"], r"newtn"),
        (
            ["model.solver={kind: broyden}", "model.adjoint={kind: shine}", "model.test_solver={kind: newton}"],
            r"the adjoint 'shine' needs a solver that estimates the inverse",
        ),
        (["optimisation.track_spectral_radius=true", "model.mode=direct"], r"in mode direct there are none"),
        (
            ["optimisation.track_spectral_radius=true", "model.solver={kind: anderson}"],
            r"'anderson' does not: set it to false, or model.test_solver to {kind: newton}",
        ),
        (
            ["optimisation.optimiser={kind: adamw}", "model.trainable=random_layer"],
            r"weight_decay is 0.01, which would change the weights that model.trainable, 'random_layer', leaves out",
        ),
    ],
)
def test_what_cannot_be_is_said_in_one_sentence(options: list[str], message: str, tiny_file: Path) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        TrainingRecipe.load(tiny_file, options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": {"kind": "plateau"}}, "schedule is plateau, but there are no samples to validate on"),
        ({"track_spectral_radius": True}, "track_spectral_radius is True, but there are no samples"),
    ],
)
def test_what_is_watched_has_to_be_there(options: dict[str, Any], message: str, tiny: TrainingRecipe) -> None:
    splits = load_splits(tiny.data)
    model = QDEQClassifier.from_recipe(tiny.classifier(splits), seed=0)
    with pytest.raises(SetupError, match=message):
        train(model, splits.train, optimisation=OptimisationRecipe.model_validate(options))
