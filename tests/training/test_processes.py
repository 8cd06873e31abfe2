"""Training in several processes: what comes out is what one process gives, and what cannot be is said at once."""

from __future__ import annotations

import math
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import error_line, qdeq
from safetensors.numpy import load_file
from tiny_recipe import TINY

from qdeq_qiskit.models import ClassifierRecipe
from qdeq_qiskit.training import OptimisationRecipe, RunDirectory, SetupError, TrainingRecipe, train
from qdeq_qiskit.training import preparation as preparation_module
from qdeq_qiskit.training.batches import Batches
from qdeq_qiskit.training.fit import fit
from qdeq_qiskit.training.preparation import check_processes
from qdeq_qiskit.training.processes.assignment import Assignment
from qdeq_qiskit.training.processes.share import Share, SharedBatches
from qdeq_qiskit.training.processes.wakeup import signals_received

CHANGES = ["optimisation.epochs=2", "model.dropout=0", "data.limit=41"]  # the last batches have 9 of 16 samples
DOUBLE = "backend.precision=double"
MEASURED = {"seconds", "train_seconds", "cpu_seconds"}
RESIDUALS = {"train_residual", "valid_residual"}  # differences of nearly equal numbers, of 1e-5


def check_equal(one: RunDirectory, several: RunDirectory, *, within: float) -> None:
    """Weights, figures of every epoch, figures and probabilities of the test: all but clocks, and costs."""
    weights, others = (load_file(run.model / "model.safetensors") for run in (one, several))
    for name, array in weights.items():
        np.testing.assert_allclose(others[name], array, rtol=0, atol=within)
    history, figures = one.epochs(), several.epochs()
    assert len(history) == len(figures)
    for row, other in zip(history, figures, strict=True):
        assert set(row) == set(other)
        for name in set(row) - MEASURED:
            relative = 0 if name in RESIDUALS else within
            assert other[name] == pytest.approx(row[name], rel=relative, abs=within, nan_ok=True), name
    test, numbers = load_file(one.test), load_file(several.test)
    np.testing.assert_allclose(numbers["probabilities"], test["probabilities"], rtol=0, atol=within)
    result, outcome = one.result(), several.result()
    for name in ("test_accuracy", "valid_accuracy", "train_loss", "best_epoch", "steps", "epochs"):
        assert outcome[name] == pytest.approx(result[name], abs=within), name


@pytest.mark.usefixtures("without_report")
def test_the_command_ends_with_two_processes_in_the_numbers_of_one(tiny_file: Path, tmp_path: Path) -> None:
    one = fit(TrainingRecipe.load(tiny_file, [*CHANGES, DOUBLE]), out=tmp_path / "one")
    changes = [part for change in [*CHANGES, DOUBLE, "optimisation.processes=2"] for part in ("--set", change)]
    answer = qdeq("fit", tiny_file, *changes, "--out", tmp_path / "two")
    assert answer.exit_code == 0, answer.output
    two = RunDirectory(tmp_path / "two")
    check_equal(one, two, within=1e-9)
    assert two.result()["circuits"] == one.result()["circuits"] > 0
    assert (one.result()["processes"], two.result()["processes"]) == (1, 2)
    assert not torch.distributed.is_initialized()


OTHERS = {
    "single precision": (2, "backend.precision=single", 1e-5),
    "angles": (2, "circuit=qdeq4-angle", 1e-9),
    "layers": (2, "model={features: {pool: {kernel: 2}}, dropout: 0, mode: direct, layers: 2}", 1e-9),
    "warm-up": (2, "model.warmup_steps=3", 1e-9),
    "one group of weights": (2, "model.trainable=block", 1e-9),
    "the paper's penalty": (2, "model.penalty={kind: full}", 1e-9),
    "Aer": (2, "backend.engine=aer", 1e-9),
    "a schedule by steps": (2, "optimisation.schedule={kind: cosine, interval: step}", 1e-9),
    "a schedule that watches": (2, "optimisation.schedule={kind: plateau, patience: 0}", 1e-9),
    "a penalty that grows": (2, "model.penalty={kind: reduced, schedule: {kind: linear, epochs: 2}}", 1e-9),
    "spectral radii": (2, "optimisation.track_spectral_radius=true", 1e-9),
    "batches smaller than processes": (5, "data.limit=19", 1e-9),
}


@pytest.mark.slow
@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("kind", OTHERS)
def test_so_does_every_kind_of_training(tiny_file: Path, tmp_path: Path, kind: str) -> None:
    processes, change, within = OTHERS[kind]
    runs = [
        fit(
            TrainingRecipe.load(tiny_file, [*CHANGES, DOUBLE, change, f"optimisation.processes={number}"]),
            out=tmp_path / str(number),
        )
        for number in (1, processes)
    ]
    check_equal(*runs, within=within)


@pytest.mark.slow
@pytest.mark.usefixtures("without_report")
def test_early_stopping_is_decided_on_the_figures_of_all(tiny_file: Path, tmp_path: Path) -> None:
    stopping = ["optimisation.early_stopping_patience=1", "optimisation.learning_rate=1.0", "optimisation.epochs=20"]
    recipes = (
        TrainingRecipe.load(tiny_file, [*CHANGES, DOUBLE, *stopping, f"optimisation.processes={number}"])
        for number in (1, 2)
    )
    one, two = (fit(recipe, out=tmp_path / str(recipe.optimisation.processes)) for recipe in recipes)
    assert one.result()["epochs"] < 20
    check_equal(one, two, within=1e-9)


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
@pytest.mark.parametrize("samples", [5, 21, 32])
def test_slices_are_every_batch_in_its_order_with_the_weights_of_its_mean(samples: int, processes: int) -> None:
    whole = Batches(torch.rand(samples, 3), torch.arange(samples), batch_size=16, seed=7)
    shares = [list(SharedBatches(whole, Share(rank, processes), weighted=True)) for rank in range(processes)]
    for (features, labels), slices in zip(whole, zip(*shares, strict=True), strict=True):
        counted = [each for each in slices if each[2] > 0]
        assert torch.equal(torch.cat([each[1] for each in counted]), labels)
        assert max(len(each[1]) for each in counted) - min(len(each[1]) for each in counted) <= 1
        averaged = sum(each[2] * each[0].mean(dim=0) for each in slices) / processes
        torch.testing.assert_close(averaged, features.mean(dim=0))


def test_a_process_without_a_sample_takes_the_step_all_the_same_but_goes_without_in_validation() -> None:
    whole = Batches(torch.rand(17, 3), torch.arange(17), batch_size=16)
    (_, labels, weight), (_, borrowed, nothing) = SharedBatches(whole, Share(0, 2), weighted=True)
    assert (len(labels), weight, len(borrowed), nothing) == (8, 1.0, 1, 0.0)
    assert [len(each[1]) for each in SharedBatches(whole, Share(0, 2), weighted=False)] == [8]
    assert [len(each[1]) for each in SharedBatches(whole, Share(1, 2), weighted=False)] == [8, 1]


def test_each_process_draws_from_a_stream_of_its_own_and_the_first_from_that_of_the_run() -> None:
    seeds = [Share(rank, 4).seed(123) for rank in range(4)]
    assert seeds[0] == 123
    assert len(set(seeds)) == 4
    assert min(seeds) >= 0


def test_more_processes_than_samples_of_a_batch_are_refused(tiny_file: Path) -> None:
    line = error_line(qdeq("fit", tiny_file, "--set", "optimisation.processes=17"))
    assert "processes is 17, but a batch has 16 samples; every process needs one" in line


def test_more_processes_than_images_are_refused_before_anything_is_written(tiny_file: Path, tmp_path: Path) -> None:
    changes = ("--set", "optimisation.processes=9", "--set", "data.limit=6")
    line = error_line(qdeq("fit", tiny_file, *changes, "--out", tmp_path / "run"))
    assert "optimisation.processes is 9, but there are only 6 images to train on; every process needs one" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("device", "sentence"),
    [
        ("cuda", "optimisation.processes is 4, but this machine shows 2 GPUs; each process needs one of its own"),
        ("cuda:1", "optimisation.processes is 2, which takes the first 2 GPUs, but backend.device is 'cuda:1'"),
    ],
)
def test_fewer_gpus_than_processes_are_refused(monkeypatch: pytest.MonkeyPatch, device: str, sentence: str) -> None:
    monkeypatch.setattr(preparation_module.torch.cuda, "device_count", lambda: 2)
    with pytest.raises(SetupError, match=sentence):
        check_processes(4 if device == "cuda" else 2, torch.device(device), samples=100)
    check_processes(2, torch.device("cuda"), samples=100)


@pytest.mark.parametrize(("visible", "seen"), [("3, 5", ["3", "5"]), (None, ["0", "1"])])
def test_each_process_sees_one_gpu_of_those_that_the_first_sees(
    monkeypatch: pytest.MonkeyPatch, tiny_file: Path, visible: str | None, seen: list[str]
) -> None:
    recipe = TrainingRecipe.load(tiny_file)
    nothing = torch.zeros(2, 1), torch.zeros(2)
    classifier = ClassifierRecipe(class_names=("no", "yes"), circuit=recipe.circuit, backend=recipe.backend)
    assignment = Assignment(classifier, recipe.optimisation, 0, nothing, None, 0, None, torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [assignment.environment(rank)["CUDA_VISIBLE_DEVICES"] for rank in range(2)] == seen
    here = replace(assignment, device=torch.device("cpu"))
    assert here.environment(1).get("CUDA_VISIBLE_DEVICES") == visible


def test_training_in_memory_says_that_it_is_one_process() -> None:
    model = torch.nn.Linear(2, 2)
    model.features = lambda inputs: inputs  # type: ignore[assignment]
    data = (np.zeros((4, 2)), np.array([0, 1, 0, 1]))
    with pytest.raises(SetupError, match="processes is 2, but training in memory is done in one"):
        train(model, data, optimisation=OptimisationRecipe(processes=2))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_program_that_uses_torch_distributed_itself_is_told_so(
    tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    recipe = TrainingRecipe.load(tiny_file, ["optimisation.processes=2"])
    with pytest.raises(SetupError, match=r"torch\.distributed is in use in this process already"):
        fit(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_may_go_on_with_another_number_of_processes_and_says_what_that_means(
    tiny_file: Path, tmp_path: Path
) -> None:
    from qdeq_qiskit.training.continuation import check_same

    recorded, given = (TrainingRecipe.load(tiny_file, [f"optimisation.processes={number}"]) for number in (2, 1))
    with pytest.warns(UserWarning, match=r"goes on with optimisation\.processes = 1, which was 2: its numbers are not"):
        check_same(recorded, given, tmp_path)


def test_signals_are_heard_of_and_an_event_loop_that_listens_for_them_goes_on_hearing() -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handler, before = signal.signal(signal.SIGUSR1, lambda *_: None), signal.set_wakeup_fd(writer)
    try:
        with signals_received() as received:
            os.kill(os.getpid(), signal.SIGUSR1)
        assert received == [signal.SIGUSR1]
        assert signal.set_wakeup_fd(before) == writer
        os.close(writer)
        assert os.read(reader, 8) == bytes([signal.SIGUSR1])
    finally:
        signal.signal(signal.SIGUSR1, handler)
        os.close(reader)


def test_the_recipe_without_the_key_is_one_process() -> None:
    assert "processes" not in TINY
    assert OptimisationRecipe().processes == 1
    assert math.isclose(Share(0, 1).seed(5), 5)
