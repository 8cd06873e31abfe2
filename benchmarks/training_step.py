"""One training step of a recipe: solve, implicit gradient, penalty, clipping, optimiser; loop and loading excluded."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch

from qdeq_qiskit.backends import Backend
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.clipping import clip_gradients, drop_gradients
from qdeq_qiskit.training.recipe import TrainingRecipe
from qdeq_qiskit.training.task import ClassifierTask

from .digit_batches import BATCH, data_name, feature_batches, num_classes
from .row import Row, timed_row
from .timing import interleaved

COMPILED = ("model.solver.kind=newton", "model.solver.compiled=true")
PAPERS_CODE_MS = 66.0
PAPERS_CODE = "the paper's TorchQuantum code, 66 ms on one core (not run here)"


def rows(*, quick: bool) -> Iterator[Row]:
    """The steps of `mnist4` with both engines, and of `mnist4-angle`, timed in turns of 20 steps."""
    cases = {
        "mnist4-torch": training_step("mnist4", engine="torch"),
        "mnist4-compiled": training_step("mnist4", *COMPILED, engine="torch"),
        "mnist4-aer": training_step("mnist4", engine="aer"),
        "mnist4-angle-torch": training_step("mnist4-angle", engine="torch"),
    }
    repetitions = {"mnist4-torch": 600, "mnist4-compiled": 600, "mnist4-aer": 60, "mnist4-angle-torch": 200}
    if quick:
        repetitions = {name: count // 10 for name, count in repetitions.items()}
    torch.manual_seed(0)  # of dropout
    timings = interleaved(cases, repetitions=repetitions, warmup=10, burst=20)
    note = f"batch {BATCH} of {data_name()}; weights learn while the clock runs"
    yield timed_row(
        "mnist4-torch",
        "one training step of mnist4, torch engine",
        timings["mnist4-torch"],
        target=1.5,
        peer=PAPERS_CODE_MS,
        peer_name=PAPERS_CODE,
        note=note,
    )
    yield timed_row(
        "mnist4-compiled",
        "the same, Newton's loop compiled (needs numba)",
        timings["mnist4-compiled"],
        target=1.3,
        peer=PAPERS_CODE_MS,
        peer_name=PAPERS_CODE,
        note=note,
    )
    yield timed_row(
        "mnist4-aer",
        "the same, Aer engine on the CPU",
        timings["mnist4-aer"],
        target=30,
        peer=PAPERS_CODE_MS,
        peer_name=PAPERS_CODE,
        note=note,
    )
    yield timed_row(
        "mnist4-angle-torch",
        "one training step of mnist4-angle, torch engine",
        timings["mnist4-angle-torch"],
        target=7,
        note=note,
    )


def training_step(
    recipe_name: str, *settings: str, engine: str = "auto", backend: Backend | None = None
) -> Callable[[], None]:
    """A function that trains a fresh model by one step each time it is called.

    Args:
        recipe_name: a training recipe.
        settings: changes to it, as `--set` takes them.
        engine: "torch" or "aer", of an exact backend.
        backend: another backend than the recipe's exact one.
    """
    recipe = TrainingRecipe.load(recipe_name, [f"backend.engine={engine}", *settings])
    classifier = QDEQClassifier(
        recipe.circuit.build(),
        backend=backend or recipe.backend,
        num_classes=num_classes(recipe),
        model=recipe.model,
        seed=0,
    ).train()
    optimiser = ClassifierTask(classifier, recipe.optimisation).configure_optimizers()
    clip = recipe.optimisation.gradient_clip or float("inf")
    parameters = optimiser.param_groups[0]["params"]
    batches = itertools.cycle(feature_batches(recipe))

    def step() -> None:
        features, labels = next(batches)
        output = classifier.classify(features)
        loss = torch.nn.functional.cross_entropy(output.logits, labels)
        if output.solution.penalty is not None:
            loss = loss + classifier.penalty_weight * output.solution.penalty
        drop_gradients(parameters)
        loss.backward()
        clip_gradients(parameters, clip)
        optimiser.step()

    return step
