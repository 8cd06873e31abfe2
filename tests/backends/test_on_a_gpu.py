"""Training on a GPU gives the CPU's losses, Aer says that it simulates there, and the host waits once a step.

Where there is no GPU, the CPU takes its place in what can be asked of it: that the backends agree.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.digit_batches import feature_batches
from benchmarks.gpu_steps import losses, stepper, task_of
from qdeq_qiskit.backends.aer import aer_devices
from qdeq_qiskit.equilibrium import _looks
from qdeq_qiskit.training.preparation import prepare
from qdeq_qiskit.training.recipe import TrainingRecipe

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
needs_aers_gpu = pytest.mark.skipif(
    not torch.cuda.is_available() or "GPU" not in aer_devices(), reason="no GPU that both Aer and torch see"
)
EXACTLY = ("backend.precision=double", "model.dropout=0")

BACKENDS = [
    pytest.param(("backend=torch_gpu",), marks=needs_gpu, id="torch_gpu"),
    pytest.param(("backend=aer_gpu",), marks=needs_aers_gpu, id="aer_gpu"),
    pytest.param(("backend=aer_gpu", "backend.device=cpu"), id="Aer on the CPU in its place"),
]


@pytest.mark.parametrize("settings", BACKENDS)
@pytest.mark.parametrize(
    "name",
    ["mnist4", pytest.param("mnist4-angle", marks=pytest.mark.slow), pytest.param("mnist10", marks=pytest.mark.slow)],
)
def test_losses_on_a_gpu_are_those_of_the_cpu(name: str, settings: tuple[str, ...]) -> None:
    recipe = TrainingRecipe.load(name, ["backend=exact", *EXACTLY])
    batches = feature_batches(recipe, count=5)
    expected = losses(task_of(recipe, classes=10), batches)
    found = losses(task_of(TrainingRecipe.load(name, [*settings, *EXACTLY]), classes=10), batches)
    assert len(set(expected)) == 5
    assert found == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        pytest.param((), "GPU", marks=needs_aers_gpu, id="aer_gpu"),
        pytest.param(("backend.device=cpu",), "CPU", id="Aer on the CPU in its place"),
    ],
)
def test_aer_reports_the_gpu_for_every_state_of_a_training_step(settings: tuple[str, ...], wanted: str) -> None:
    recipe = TrainingRecipe.load("mnist4", ["backend=aer_gpu", *settings])
    task = task_of(recipe, classes=4)
    simulator, devices = task.classifier.equilibrium.layer.engine._simulator, []

    class Noting:
        def run(self, *circuits: object, **options: object) -> object:
            job = simulator.run(*circuits, **options)
            devices.extend(each.metadata["device"] for each in job.result().results)
            return job

    task.classifier.equilibrium.layer.engine._simulator = Noting()
    losses(task, feature_batches(recipe, count=2))
    assert len(devices) == 2 * 2  # in each step one for W and one for the gradient
    assert set(devices) == {wanted}


@needs_gpu
@pytest.mark.parametrize("name", ["mnist4", "mnist4-angle", "mnist4-direct5", "mnist10", "mnist10-angle"])
def test_on_a_gpu_the_host_waits_once_a_training_step(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = TrainingRecipe.load(name, ["backend=torch_gpu"])
    task = task_of(recipe, classes=10)
    like = next(task.classifier.parameters())
    batches = [(features.to(like), labels.to(like.device)) for features, labels in feature_batches(recipe, count=4)]
    step, looks, holds = stepper(task), [], _looks.holds

    def allowed(condition: Tensor) -> bool:
        looks.append(condition)
        mode = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("default")
        try:
            return holds(condition)
        finally:
            torch.cuda.set_sync_debug_mode(mode)

    for batch in batches[:3]:  # constants move to the device, once
        step(*batch)
    monkeypatch.setattr(_looks, "holds", allowed)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(*batches[3])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(looks) == 1


@needs_gpu
def test_on_a_gpu_the_data_are_there_before_training() -> None:
    prepared = prepare(TrainingRecipe.load("digits", ["backend=torch_gpu"]), Path())
    for features, labels in prepared.batches("train", 256, seed=0):
        assert features.is_cuda
        assert labels.is_cuda
