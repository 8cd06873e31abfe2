"""Training steps on any device, and their losses: what the GPU is measured by, and held against the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.clipping import clip_gradients, drop_gradients
from qdeq_qiskit.training.recipe import TrainingRecipe
from qdeq_qiskit.training.tally import Tally
from qdeq_qiskit.training.task import ClassifierTask


def task_of(recipe: TrainingRecipe, *, classes: int, device: str | None = None) -> ClassifierTask:
    """What trains a fresh model of a recipe; on another device than the recipe's, which is not checked."""
    backend = recipe.backend if device is None else recipe.backend.model_copy(update={"device": device})
    classifier = QDEQClassifier(
        recipe.circuit.build(), backend=backend, num_classes=classes, model=recipe.model, seed=recipe.seed
    )
    return ClassifierTask(classifier.train(), recipe.optimisation)


def stepper(task: ClassifierTask) -> Callable[[Tensor, Tensor], Tensor]:
    """A function that makes one step, as a trainer does, and gives the loss, (), without waiting for it."""
    optimiser = task.configure_optimizers()
    parameters = optimiser.param_groups[0]["params"]

    def step(features: Tensor, labels: Tensor) -> Tensor:
        loss = task.training_step((features, labels), 0)
        drop_gradients(parameters)
        loss.backward()
        clip_gradients(parameters, task.optimisation.gradient_clip or float("inf"))
        optimiser.step()
        return loss.detach()

    return step


def losses(task: ClassifierTask, batches: Sequence[tuple[Tensor, Tensor]]) -> list[float]:
    """The losses of one step for each batch, one after another; the batches go to the model's device first."""
    like, step = next(task.classifier.parameters()), stepper(task)
    found = torch.stack([step(features.to(like), labels.to(like.device)) for features, labels in batches]).tolist()
    task.tally = Tally()
    return found
