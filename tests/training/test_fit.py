"""Training runs: what they leave behind, that they repeat, and that interruptions do not show."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from tiny_recipe import TINY

from qdeq_qiskit.equilibrium import NotConvergedWarning
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training import RunDirectory, RunError, SetupError, TrainingError, TrainingRecipe, load_splits
from qdeq_qiskit.training.evaluation import Evaluation, evaluate
from qdeq_qiskit.training.fit import fit, resume, rewrite_report
from qdeq_qiskit.training.seal import sealed

TIMES = ("seconds", "train_seconds", "ms_per_step", "peak_memory_mb", "cpu_seconds", "added_memory_mb")


def untimed(result: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in result.items() if key not in TIMES}
    kept["test"] = {key: value for key, value in result["test"].items() if key not in TIMES}
    return kept


def untimed_history(directory: RunDirectory) -> list[dict[str, str]]:
    with directory.history.open() as file:
        return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]


def weights(directory: RunDirectory) -> dict[str, torch.Tensor]:
    return load_file(directory.model / "model.safetensors")


def assert_same_run(first: RunDirectory, second: RunDirectory) -> None:
    """Bit for bit, but for times."""
    assert untimed(first.result()) == untimed(second.result())
    assert untimed_history(first) == untimed_history(second)
    one, two = weights(first), weights(second)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_leaves_everything_that_was_promised(run: RunDirectory, tiny: TrainingRecipe) -> None:
    result = run.result()
    promised = (
        "test_accuracy valid_accuracy train_loss steps seconds ms_per_step median_residual converged_fraction "
        "mean_iterations circuits seed"
    )
    assert set(promised.split()) <= set(result)
    assert (result["steps"], result["epochs"], result["seed"]) == (12, 4, 11)
    assert 0 < result["median_residual"] <= 1e-4
    assert run.recipe() == tiny
    assert len(untimed_history(run)) == 4
    assert list(run.tensorboard.glob("events.out.tfevents.*"))
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["last.ckpt", "previous.ckpt"]
    assert run.report.stat().st_size > 50_000
    assert not list(run.path.rglob(".*")), "no temporary file is left"
    json.loads((run.path / "result.json").read_text(), parse_constant=lambda text: pytest.fail(text))


def test_tensorboard_has_every_epoch(run: RunDirectory) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.tensorboard))
    events.Reload()
    logged = [event.value for event in events.Scalars("valid_accuracy")]
    assert logged == pytest.approx([float(row["valid_accuracy"]) for row in untimed_history(run)])
    assert [event.step for event in events.Scalars("train_loss")] == [2, 5, 8, 11]


def test_the_saved_model_is_the_epoch_with_the_least_validation_loss(run: RunDirectory) -> None:
    losses = [float(row["valid_loss"]) for row in untimed_history(run)]
    assert run.result()["best_epoch"] == losses.index(min(losses)) + 1
    splits = load_splits(run.recipe().data)
    outcome = evaluate(QDEQClassifier.load(run.model), splits.valid)
    rows = torch.arange(len(outcome.labels))
    loss = -outcome.probabilities[rows, outcome.labels]
    assert -float(torch.from_numpy(-loss).log().mean()) == pytest.approx(min(losses), rel=1e-5)


def test_the_test_figures_are_those_of_the_saved_model(run: RunDirectory) -> None:
    saved = Evaluation.load(run.test)
    assert saved.accuracy == run.result()["test_accuracy"]
    again = evaluate(QDEQClassifier.load(run.model), load_splits(run.recipe().data).test)
    assert (again.probabilities == saved.probabilities).all()
    assert saved.trace.shape[1] == 40
    assert (saved.trace[-1] <= 1e-4).all()


@pytest.mark.usefixtures("without_report")
def test_one_seed_repeats_a_run_bit_for_bit_and_another_does_not(
    run: RunDirectory, tiny: TrainingRecipe, tmp_path: Path
) -> None:
    torch.manual_seed(999)
    assert_same_run(run, fit(tiny, name="tiny", out=tmp_path / "again"))
    other = fit(tiny.model_copy(update={"seed": 12}), name="tiny", out=tmp_path / "other")
    assert not torch.equal(weights(run)["circuit.weight"], weights(other)["circuit.weight"])


SHOTS = ["backend.kind=shots", "backend.shots=20", "model.penalty=null"]


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param([], id="plain"),
        pytest.param(["model.warmup_steps=8"], id="warm-up"),
        pytest.param(SHOTS, id="shots", marks=pytest.mark.slow),
        pytest.param([*SHOTS, "backend.weight_gradient=spsa"], id="spsa", marks=pytest.mark.slow),
    ],
)
def test_a_run_that_failed_after_two_epochs_and_was_resumed_equals_an_uninterrupted_one(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: list[str]
) -> None:
    tiny = TrainingRecipe.load(tiny_file, changes)
    whole = fit(tiny, out=tmp_path / "whole")
    original = QDEQClassifier.classify
    calls = 0

    def failing(self: QDEQClassifier, features: torch.Tensor) -> Any:
        nonlocal calls
        calls += 1
        if calls == 10:  # 3 training batches and 1 of validation an epoch: in the middle of the third epoch
            raise RuntimeError("power cut")
        return original(self, features)

    monkeypatch.setattr(QDEQClassifier, "classify", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        fit(tiny, out=tmp_path / "torn")
    monkeypatch.undo()
    torn = RunDirectory.open(tmp_path / "torn")
    assert not torn.finished
    assert len(untimed_history(torn)) == 2
    assert_same_run(whole, resume(torn.path))


@pytest.mark.usefixtures("without_report")
def test_a_run_killed_while_training_resumes_to_the_same_numbers(tiny_file: Path, tmp_path: Path) -> None:
    tiny_file.write_text(TINY.replace("epochs: 4", "epochs: 30"))
    recipe = TrainingRecipe.load(tiny_file)
    whole = fit(recipe, out=tmp_path / "whole")
    torn = tmp_path / "torn"
    script = (
        "import sys; from pathlib import Path; from qdeq_qiskit.training import TrainingRecipe\n"
        "from qdeq_qiskit.training.fit import fit\n"
        "fit(TrainingRecipe.load(sys.argv[1]), out=Path(sys.argv[2]))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tiny_file), str(torn)], stderr=subprocess.DEVNULL)
    while process.poll() is None and not (torn / "checkpoints" / "previous.ckpt").exists():
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert not RunDirectory.open(torn).finished, "the run was over before it could be killed"
    assert_same_run(whole, resume(torn))


@pytest.mark.usefixtures("without_report")
def test_more_epochs_continue_a_finished_run_as_if_it_had_been_asked_for_them(
    run: RunDirectory, tiny: TrainingRecipe, tmp_path: Path
) -> None:
    longer = tiny.model_copy(update={"optimisation": tiny.optimisation.model_copy(update={"epochs": 6})})
    assert_same_run(fit(longer, out=tmp_path / "longer"), resume(run.path, recipe=longer))


@pytest.mark.usefixtures("without_report")
def test_run_json_says_which_data_a_run_saw_and_other_data_do_not_continue_it(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = load_splits(run.recipe().data)
    pixels = splits.test.pixels.copy()
    pixels[3, 0, 0] += 0.25
    altered = replace(splits, test=replace(splits.test, pixels=pixels))
    recorded = run.origin()["data"]
    (run.path / "result.json").unlink()
    with monkeypatch.context() as patch:
        patch.setattr("qdeq_qiskit.training.preparation.load_splits", lambda *_, **__: altered)
        with pytest.raises(RunError, match="begun with other data: the images or labels of test differ"):
            resume(run.path)
    resume(run.path)
    assert run.origin()["data"] == recorded
    assert {split: len(digest) for split, digest in recorded.items()} == {"train": 64, "valid": 64, "test": 64}


def test_resuming_a_finished_run_or_with_another_recipe_is_refused(run: RunDirectory, tiny: TrainingRecipe) -> None:
    with pytest.raises(RunError, match="the run is finished"):
        resume(run.path)
    with pytest.raises(
        RunError, match=r"begun with seed = 11, not 3; only optimisation\.epochs and optimisation\.processes may"
    ):
        resume(run.path, recipe=tiny.model_copy(update={"seed": 3}))


@pytest.mark.usefixtures("without_report")
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before_and_says_so(
    run: RunDirectory, tiny: TrainingRecipe, tmp_path: Path
) -> None:
    (run.path / "result.json").unlink()
    last = run.checkpoints / "last.ckpt"
    last.write_bytes(last.read_bytes()[:100])
    kept = untimed_history(run)
    with pytest.warns(UserWarning, match=r"last\.ckpt: is damaged.*continuing from .*previous\.ckpt"):
        resume(run.path)
    assert untimed_history(run) == kept
    for path in run.checkpoints.iterdir():
        path.write_bytes(b"nothing")
    (run.path / "result.json").unlink()
    with pytest.raises(RunError, match=r"last\.ckpt: is damaged.*; there is no other.*; begin the run anew with `qdeq"):
        resume(run.path)


def test_a_checkpoint_that_would_execute_code_is_refused(run: RunDirectory) -> None:
    trace = run.path / "executed"

    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (trace,))

    (run.path / "result.json").unlink()
    buffer = io.BytesIO()
    torch.save({"qdeq": Malicious()}, buffer)
    for path in run.checkpoints.iterdir():
        path.write_bytes(sealed(buffer.getvalue()))
    with pytest.raises(RunError, match=r"last\.ckpt: is damaged, or no checkpoint of plain tensors"):
        resume(run.path)
    assert not trace.exists()


@pytest.mark.usefixtures("without_report")
def test_early_stopping_ends_a_run_and_a_resumed_one_stays_ended(tiny_file: Path, tmp_path: Path) -> None:
    tiny_file.write_text(
        TINY.replace("learning_rate: 0.05", "learning_rate: 1.0, early_stopping_patience: 2").replace(
            "epochs: 4", "epochs: 50"
        )
    )
    run = fit(TrainingRecipe.load(tiny_file), out=tmp_path / "run")
    result = run.result()
    assert result["epochs"] < 50
    assert result["epochs"] == result["best_epoch"] + 2
    (run.path / "result.json").unlink()
    assert untimed(resume(run.path).result()) == untimed(result)


@pytest.mark.usefixtures("without_report")
def test_samples_that_do_not_converge_are_counted_and_warned_of_once_an_epoch(tiny_file: Path, tmp_path: Path) -> None:
    recipe = TrainingRecipe.load(tiny_file, ["model.solver={kind: newton, tolerance: 1e-12, max_iterations: 1}"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = fit(recipe, out=tmp_path / "run")
    messages = [str(entry.message) for entry in caught if issubclass(entry.category, NotConvergedWarning)]
    assert len(messages) == 4
    assert "epoch 1: 40 of 40 samples did not converge" in messages[0]
    assert [row["train_unconverged"] for row in untimed_history(run)] == ["40"] * 4
    assert run.result()["converged_fraction"] == 0


def test_direct_mode_reports_no_residual_instead_of_a_wrong_one(tiny_file: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", NotConvergedWarning)
        run = fit(TrainingRecipe.load(tiny_file, ["model.mode=direct", "model.layers=3"]), out=tmp_path / "run")
    result = run.result()
    assert result["median_residual"] is None
    assert result["converged_fraction"] is None
    assert result["mean_iterations"] == 3
    assert run.report.is_file()


def test_coherent_mode_trains_one_deep_circuit_and_reports_its_depth(tiny_file: Path, tmp_path: Path) -> None:
    run = fit(TrainingRecipe.load(tiny_file, ["model.mode=coherent", "model.layers=3"]), out=tmp_path / "run")
    result = run.result()
    assert result["median_residual"] is None
    assert result["mean_iterations"] == 1
    losses = [float(row["train_loss"]) for row in untimed_history(run)]
    assert losses[-1] < losses[0]
    page = run.report.read_text()
    assert "repetitions of the ansatz in one circuit" in page
    recipe = run.recipe()
    deep = recipe.circuit.build().repeated(3).resources()
    assert f"depth {deep.depth}, {deep.two_qubit_gates} two-qubit gates" in page


@pytest.mark.slow
@pytest.mark.parametrize("weight_gradient", ["parameter_shift", "{kind: spsa, perturbation: 0.2, repetitions: 4}"])
def test_a_small_set_is_trained_from_shots(tiny_file: Path, tmp_path: Path, weight_gradient: str) -> None:
    changes = [
        f"backend={{kind: shots, shots: 256, weight_gradient: {weight_gradient}}}",
        "model.penalty=null",
        "model.solver=null",
        "optimisation.learning_rate=0.02",
        "optimisation.epochs=6",
    ]
    run = fit(TrainingRecipe.load(tiny_file, changes), out=tmp_path / "run")
    result, history = run.result(), untimed_history(run)
    losses = [float(row["train_loss"]) for row in history]
    assert losses[-1] < losses[0]
    assert result["shots"] > 256 * result["circuits"]
    assert result["converged_fraction"] > 0.9
    assert 0.3 < result["test"]["median_confidence"] <= 1
    assert result["test"]["median_half_width"] > 0
    assert run.report.is_file()


def test_a_loss_that_is_not_finite_ends_the_run_with_advice_and_leaves_nothing(
    tiny: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.functional, "cross_entropy", lambda logits, labels: logits.sum() * math.nan)
    with pytest.raises(TrainingError, match="loss of epoch 1 is nan"):
        fit(tiny, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "reason"),
    [
        ("model.features.pool=null", "64 features, but the circuit takes 16"),
        ("model.features.pool.kernel=9", "cannot be pooled"),
        ("backend.device=cuda", "GPU"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_anything_is_written(
    tiny_file: Path, tmp_path: Path, override: str, reason: str
) -> None:
    if override.endswith("cuda") and torch.cuda.is_available():
        pytest.skip("this machine has a GPU, so asking for one is no error")
    recipe = TrainingRecipe.load(tiny_file, [override])
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(SetupError, match=reason):
        fit(recipe, out=tmp_path / "run")
    assert sorted(os.listdir(tmp_path)) == before


def test_a_run_never_overwrites_another(run: RunDirectory, tiny: TrainingRecipe, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is there already and is never overwritten; `qdeq fit --resume"):
        fit(tiny, out=run.path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunError, match="never overwritten"):
        fit(tiny, out=tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.usefixtures("without_report")
def test_a_group_of_weights_that_does_not_train_keeps_its_initial_values(tiny_file: Path, tmp_path: Path) -> None:
    recipe = TrainingRecipe.load(tiny_file, ["model.trainable=random_layer"])
    run = fit(recipe, out=tmp_path / "run")
    splits = load_splits(recipe.data)
    initial = QDEQClassifier.from_recipe(recipe.classifier(splits), seed=recipe.seed)
    block = list(initial.circuit.weight_groups["block"])
    trained = weights(run)["circuit.weight"]
    assert torch.equal(trained[block], initial.weight.detach()[block])
    assert not torch.equal(trained[:10], initial.weight.detach()[:10])


def test_numbered_directories_are_taken_in_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    names = [str(RunDirectory.claim(None, name="digits").path) for _ in range(2)]
    assert names == ["runs/digits-1", "runs/digits-2"]


def test_every_epoch_sees_the_samples_in_another_order(
    tiny: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_report: None
) -> None:
    original = QDEQClassifier.classify
    first_batches = []

    def watched(self: QDEQClassifier, features: torch.Tensor) -> Any:
        if self.training and len(features) == 16:
            first_batches.append(features)
        return original(self, features)

    monkeypatch.setattr(QDEQClassifier, "classify", watched)
    fit(tiny, out=tmp_path / "run")
    starts = first_batches[::2]  # two whole batches of 16 and one of 8 an epoch
    assert len(starts) == 4
    assert not any(torch.equal(a, b) for k, a in enumerate(starts) for b in starts[:k])


def test_the_penalty_and_the_clipping_of_gradients_act_on_training(
    tiny_file: Path, tmp_path: Path, without_report: None
) -> None:
    def trained(*overrides: str) -> torch.Tensor:
        name = str(len(list(tmp_path.iterdir())))
        changes = ["optimisation.epochs=1", *overrides]
        return weights(fit(TrainingRecipe.load(tiny_file, changes), out=tmp_path / name))["circuit.weight"]

    usual = trained()
    assert not torch.equal(usual, trained("model.penalty.weight=0.1"))
    assert not torch.equal(usual, trained("optimisation.gradient_clip=1e-9"))
    assert torch.equal(trained("model.penalty.weight=0"), trained("model.penalty=null"))


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize(("threads", "expected"), [("1", 1), ("2", 2), ("null", 3)])
def test_a_run_has_the_threads_of_its_recipe_and_gives_them_back(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: str, expected: int
) -> None:
    original = QDEQClassifier.classify
    seen = set()

    def watched(self: QDEQClassifier, features: torch.Tensor) -> Any:
        seen.add(torch.get_num_threads())
        return original(self, features)

    monkeypatch.setattr(QDEQClassifier, "classify", watched)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        fit(TrainingRecipe.load(tiny_file, [f"optimisation.threads={threads}"]), out=tmp_path / "run")
        assert seen == {expected}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_a_checkpoint_of_another_model_is_refused_and_the_result_stays(
    run: RunDirectory, tiny_file: Path, tmp_path: Path, without_report: None
) -> None:
    other = fit(
        TrainingRecipe.load(tiny_file, ["data.classes=[0, 3]", "optimisation.epochs=1"]), out=tmp_path / "other"
    )
    last = run.checkpoints / "last.ckpt"
    last.write_bytes((other.checkpoints / "last.ckpt").read_bytes())
    longer = TrainingRecipe.load(tiny_file, ["optimisation.epochs=6"])
    with pytest.raises(RunError, match=r"last\.ckpt: is of another model: .*head\.\w+ has shape \(2"):
        resume(run.path, recipe=longer)
    assert run.finished
    content = torch.load(last, weights_only=True)
    del content["callbacks"]
    buffer = io.BytesIO()
    torch.save(content, buffer)
    for path in run.checkpoints.iterdir():
        path.write_bytes(sealed(buffer.getvalue()))
    with pytest.raises(RunError, match="not a whole checkpoint"):
        resume(run.path, recipe=longer)


def test_an_incomplete_result_is_called_damaged(run: RunDirectory) -> None:
    (run.path / "result.json").write_text("{}")
    with pytest.raises(RunError, match=r"result\.json: is damaged: best_epoch: field required"):
        rewrite_report(run.path)


@pytest.mark.usefixtures("without_report")
def test_training_on_a_finished_run_is_announced(run: RunDirectory, tiny_file: Path) -> None:
    console = Console(file=io.StringIO(), width=110)
    resume(run.path, recipe=TrainingRecipe.load(tiny_file, ["optimisation.epochs=6"]), console=console)
    assert console.file.getvalue().startswith("training on from 4 to 6 epochs\n")


@pytest.mark.usefixtures("without_report")
def test_a_run_without_its_checkpoints_never_starts_again_in_silence(run: RunDirectory, tiny_file: Path) -> None:
    for path in run.checkpoints.iterdir():
        path.unlink()
    with pytest.raises(RunError, match="checkpoints: there is no checkpoint any more"):
        resume(run.path, recipe=TrainingRecipe.load(tiny_file, ["optimisation.epochs=6"]))
    assert run.finished
    (run.path / "result.json").unlink()
    with pytest.warns(UserWarning, match="no checkpoint; the run starts again from the beginning"):
        resume(run.path)


def test_the_data_folder_of_the_environment_is_remembered(
    tiny: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without_report: None
) -> None:
    monkeypatch.setenv("QDEQ_DATA_DIR", str(tmp_path / "data"))
    assert fit(tiny, out=tmp_path / "run").data_dir() == tmp_path / "data"


def test_a_run_interrupted_in_its_report_says_how_to_write_it(
    tiny: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("qdeq_qiskit.training.report.write_report", interrupted)
        with pytest.raises(KeyboardInterrupt, match=r"report is missing: `qdeq report .*run` writes it"):
            fit(tiny, out=tmp_path / "run")
    result = (tmp_path / "run" / "result.json").read_bytes()
    with pytest.warns(UserWarning, match=r"report\.html: is missing; it is written anew"):
        assert resume(tmp_path / "run").report.is_file()
    assert (tmp_path / "run" / "result.json").read_bytes() == result
