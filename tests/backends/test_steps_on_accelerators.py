"""On an accelerator nothing in a training step makes the host wait, but one look; and the answers are the CPU's."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import fields
from importlib import import_module
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from accelerator_waits import WaitsOfTheHost
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor

from benchmarks.gpu_steps import stepper, task_of
from qdeq_qiskit.backends.maps import ProductMap
from qdeq_qiskit.equilibrium import Equilibrium, Picard, _looks, tell_put_off_warnings
from qdeq_qiskit.training.batches import Batches
from qdeq_qiskit.training.loop import quiet_lightning
from qdeq_qiskit.training.recipe import TrainingRecipe

META = torch.device("meta")
RECIPES = [
    "mnist4",
    "mnist4-warmup",
    "mnist4-direct5",
    pytest.param("mnist4-coherent2", marks=pytest.mark.slow),
    "mnist4-angle",
    pytest.param("mnist10", marks=pytest.mark.slow),
    pytest.param("mnist10-direct5", marks=pytest.mark.slow),
    pytest.param("mnist10-angle", marks=pytest.mark.slow),
]
EXACTLY = ("backend.precision=double", "model.dropout=0")


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What the host has looked at; it is told that everything is well."""
    seen: list[Tensor] = []
    monkeypatch.setattr(_looks, "holds", lambda condition: seen.append(condition) or True)
    monkeypatch.setattr(_looks, "_put_off", [])
    return seen


@pytest.fixture
def fused_on_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the optimisers that are fused on CPU and GPU be so on `meta`."""
    optimiser = import_module("torch.optim.optimizer")
    monkeypatch.setattr(optimiser, "_get_fused_kernels_supported_devices", lambda: ["cpu", "cuda", "meta"])


def as_on_an_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on the CPU passes for an accelerator."""
    monkeypatch.setattr(_looks, "on_accelerator", lambda tensor: True)
    monkeypatch.setattr(ProductMap, "carries", True)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.usefixtures("fused_on_meta")
def test_a_training_step_looks_once_at_what_the_accelerator_has_computed(name: str, looks: list[Tensor]) -> None:
    recipe = TrainingRecipe.load(name)
    task = task_of(recipe, classes=10, device="meta")
    features = torch.zeros(300, recipe.circuit.build().num_features, device=META)
    batches = Batches(features, torch.zeros(300, dtype=torch.long, device=META), batch_size=128, seed=0)
    step = stepper(task)
    for batch in batches:  # constants move to the device, once
        step(*batch)
    rest = iter(batches)
    next(rest)  # the permutation moves to it once an epoch
    for _ in range(2):
        batch = next(rest)
        looks.clear()
        with WaitsOfTheHost() as waits:
            step(*batch)
        assert waits.found == []
        assert waits.operators > 100
        assert [look.device for look in looks] == [META]
    assert len(task.tally) == 5


class Elsewhere(SingleDeviceStrategy):
    """Leaves model and batches on their device, which Lightning does not know."""

    def model_to_device(self) -> None:
        pass

    def batch_to_device(self, batch: Any, device: object = None, dataloader_idx: int = 0) -> Any:
        return batch

    def teardown(self) -> None:
        pass


class Watch(pl.Callback):
    """Looks for waits from the third batch to the sixth, and ends it there."""

    def __init__(self, looks: list[Tensor]) -> None:
        self.looks, self.waits = looks, WaitsOfTheHost()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if batch_idx == 2:
            self.looks.clear()
            self.waits.__enter__()

    def on_train_batch_end(self, *_: Any) -> None:
        if len(self.looks) == 4 and self.waits.operators:
            self.waits.__exit__(None, None, None)
            raise StopAsyncIteration  # what Lightning does not catch


@pytest.mark.usefixtures("fused_on_meta")
def test_lightnings_loop_makes_the_host_wait_no_further(looks: list[Tensor]) -> None:
    task = task_of(TrainingRecipe.load("mnist4"), classes=4, device="meta")
    batches = Batches(torch.zeros(999, 16, device=META), torch.zeros(999, dtype=torch.long, device=META), batch_size=99)
    watch = Watch(looks)
    # As `run_epochs` calls it.
    trainer = pl.Trainer(
        strategy=Elsewhere(device=torch.device("cpu"), accelerator=pl.accelerators.CPUAccelerator()),
        gradient_clip_val=0.25,
        callbacks=[watch],
        log_every_n_steps=sys.maxsize,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        logger=False,
    )
    with quiet_lightning(), pytest.raises(StopAsyncIteration):
        trainer.fit(task, batches)
    assert len(task.tally) == 6
    assert watch.waits.operators > 4 * 400
    assert watch.waits.found == []


@pytest.mark.parametrize(
    "wait",
    [
        lambda t: float(t.sum()),
        lambda t: bool((t > 0).all()),
        lambda t: t.nonzero(),
        lambda t: t[t[:, 0] > 0],
        lambda t: t.cpu(),
        lambda t: t.tolist(),
        lambda t: torch.equal(t, t),
        lambda t: torch.allclose(t, t),
        lambda t: torch.linalg.solve(t, t),
        lambda t: torch.as_tensor(np.eye(3), device=t.device),
        lambda t: torch.zeros(3).to(t),
        lambda t: t.index_select(0, torch.tensor([1]).to(t.device)),
    ],
)
def test_waits_of_the_host_are_noticed(wait: Callable[[Tensor], object]) -> None:
    tensor = torch.zeros(3, 3, device=META)
    try:
        with WaitsOfTheHost() as waits:
            wait(tensor)
    except (RuntimeError, NotImplementedError):  # the latter is one of the former, but for readers
        return
    assert waits.found


def few_digits(recipe: TrainingRecipe, samples: int = 64) -> tuple[Tensor, Tensor]:
    """Features like those of images, in double precision, and labels."""
    generator = torch.Generator().manual_seed(3)
    size = (samples, recipe.circuit.build().num_features)
    features = torch.rand(size, generator=generator, dtype=torch.double) * (torch.rand(size, generator=generator) < 0.6)
    return features, torch.randint(4, (samples,), generator=generator)


@pytest.mark.parametrize("name", ["mnist4", "mnist4-angle", "mnist4-direct2"])
def test_the_steps_of_an_accelerator_are_those_of_the_cpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = TrainingRecipe.load(name, EXACTLY)
    batch = few_digits(recipe)
    tasks = [task_of(recipe, classes=4) for _ in range(2)]
    losses = [float(step(*batch)) for step in [stepper(tasks[0])] for _ in range(6)]
    as_on_an_accelerator(monkeypatch)
    others = [float(step(*batch)) for step in [stepper(tasks[1])] for _ in range(6)]
    assert others == pytest.approx(losses, abs=1e-12)
    for name in ("_iterations", "_reason"):
        for one, other in zip(getattr(tasks[0].tally, name), getattr(tasks[1].tally, name), strict=True):
            assert torch.equal(one, other)
    assert tasks[0].tally.circuits == tasks[1].tally.circuits


@pytest.mark.parametrize("settings", [(), ("model.solver={kind: newton, tolerance: 1.0e-13, max_iterations: 6}",)])
@pytest.mark.parametrize("spoilt", [(), (2, 5)])
def test_solutions_of_hard_and_of_spoilt_samples_are_those_of_the_cpu(
    settings: tuple[str, ...], spoilt: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = TrainingRecipe.load("mnist4", [*EXACTLY, *settings])
    equilibrium = task_of(recipe, classes=4).classifier.equilibrium
    features, _ = few_digits(recipe)
    features[list(spoilt), 1] = torch.nan
    gradients = []

    def solved() -> object:
        equilibrium.zero_grad()
        solution = equilibrium(features)
        (solution.value.square().sum() + solution.penalty).backward()
        gradients.append(equilibrium.layer.weight.grad.clone())
        return solution

    here = solved()
    as_on_an_accelerator(monkeypatch)
    there = solved()
    assert int(here.converged.sum()) < 64 or not (settings or spoilt)
    for field in fields(here):
        one, other = getattr(here, field.name), getattr(there, field.name)
        if isinstance(one, Tensor):
            torch.testing.assert_close(other, one, rtol=0, atol=1e-10, equal_nan=True, msg=field.name)
        elif field.name != "backward":
            assert other == one
    assert (gradients[0] - gradients[1]).abs().max() < 1e-9


def test_a_fixed_point_that_has_no_gradient_is_told_of_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    # f(w) = w for the first sample only, where any w is a fixed point and I − J is singular.
    x = torch.tensor([[1.0], [0.5]], dtype=torch.double)
    scale = torch.nn.Parameter(torch.ones((), dtype=torch.double))

    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, w: Tensor, x: Tensor) -> Tensor:
            return self.scale * x * w

    equilibrium = Equilibrium(Scaled(), state_size=1, solver=Picard(), on_failure="record")
    start = torch.tensor([[2.0], [0.0]], dtype=torch.double)
    with pytest.warns(RuntimeWarning, match="singular at 1 of 2 fixed points"):
        equilibrium(x, start).value.sum().backward()
    expected = scale.grad.clone()
    scale.grad = None
    as_on_an_accelerator(monkeypatch)
    for told in (lambda: equilibrium(x, start), tell_put_off_warnings):
        scale.grad = None
        equilibrium(x, start).value.sum().backward()
        assert torch.equal(scale.grad, expected)
        with pytest.warns(RuntimeWarning, match="singular at 1 of 2 fixed points: these samples contribute nothing"):
            told()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tell_put_off_warnings()  # each is told once
