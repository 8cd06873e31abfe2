"""Training in memory: any model and any data, nothing written, the process left as it was."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from qdeq_qiskit.equilibrium import NotConvergedWarning
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.batches import Batches
from qdeq_qiskit.training.data.images import Images
from qdeq_qiskit.training.data.users_arrays import as_array, stacked
from qdeq_qiskit.training.errors import DataError, SetupError
from qdeq_qiskit.training.loop import KeepBest, run_epochs, torch_threads
from qdeq_qiskit.training.optimisers import check_decay
from qdeq_qiskit.training.preparation import setting_up
from qdeq_qiskit.training.recipe import OptimisationRecipe
from qdeq_qiskit.training.schedules import PlateauSchedule
from qdeq_qiskit.training.task import Batch, ClassifierTask, Loss, Trainable

VALIDATION_BATCH = 2048

# Torch's global generator, its number of threads and the filters of warnings belong to the process: one at a time.
ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Trained:
    """What training left behind, besides the weights.

    Attributes:
        history: one row of figures for each epoch.
        best_epoch: the epoch that the weights are of, from 1.
        circuits: circuits that were evaluated.
        shots: shots that they took; 0 where they are exact.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    circuits: int
    shots: int


def train(
    model: Trainable,
    data: Any,
    *,
    valid: Any = None,
    optimisation: OptimisationRecipe | None = None,
    loss: Loss | None = None,
    seed: int = 0,
    verbose: bool = False,
) -> Trained:
    """Train a model in place; it ends in evaluation mode, with the weights of its best epoch.

    The best epoch is the one with the least loss on `valid`; without `valid` it is the last one. Torch's global
    generator is afterwards what it was before.

    Args:
        model: a `DEQClassifier`, a `QDEQClassifier`, or whatever is `Trainable`.
        data: inputs and labels, as a pair of arrays or tensors, (N, ...) and (N,); or a map-style torch dataset of
            (input, label) pairs; or `Images`. All of it is held in memory.
        valid: the same, to choose the best epoch with.
        optimisation: how; None for the defaults, 100 epochs with batches of 256.
        loss: from what the head gives, and labels, to a scalar; None for cross entropy, whose labels are whole numbers
            from 0. The model's penalty is added.
        seed: of the batch order, dropout and shots.
        verbose: whether progress is shown on the terminal.

    Raises:
        DataError: something about the data; the message says what, and where.
        SetupError: the model and the options do not fit together.
        TrainingError: the loss is not finite any more.
    """
    classify = loss is None
    batches = _batch(model, data, "data", classify=classify)
    held_out = None if valid is None else _batch(model, valid, "valid", classify=classify)
    if held_out is not None and held_out[0].shape[1:] != batches[0].shape[1:]:
        shapes = [tuple(each[0].shape[1:]) for each in (held_out, batches)]
        raise DataError(f"valid: inputs have shape {shapes[0]} each, those of the data {shapes[1]}; make them equal")
    if classify and len(torch.unique(batches[1])) < 2:
        raise DataError(f"data: all labels are {int(batches[1][0])}; expected at least two classes")
    chosen = loss or _CrossEntropy(max(int(each[1].max()) for each in (batches, held_out) if each is not None))
    return train_on_features(
        model,
        batches,
        held_out,
        optimisation or OptimisationRecipe(),
        loss=chosen,
        seed=seed,
        verbose=verbose,
    )


def train_on_features(
    model: Trainable,
    data: Batch,
    valid: Batch | None,
    optimisation: OptimisationRecipe,
    *,
    loss: Loss | None = None,
    seed: int,
    verbose: bool = False,
    stacklevel: int = 3,
) -> Trained:
    """The same for tensors that are checked, and are what `model.classify` takes, on the model's device.

    Args:
        model: what is trained.
        data: features, (N, ...), and labels, (N, ...).
        valid: the same, to choose the best epoch with; None to keep the last.
        optimisation: how.
        loss: of logits and labels; None for cross entropy.
        seed: as for `train`.
        verbose: as for `train`.
        stacklevel: of the warning of samples that did not converge.

    Raises:
        SetupError: the model and the options do not fit together.
        TrainingError: the loss is not finite any more.
    """
    if optimisation.processes > 1:
        raise SetupError(
            f"processes is {optimisation.processes}, but training in memory is done in one, since other processes "
            "cannot be given a model of any kind; set it to 1, or train from a recipe with training.fit.fit"
        )
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise SetupError("the model has no parameter that requires a gradient, so there is nothing to train")
    if optimisation.early_stopping_patience is not None and valid is None:
        raise SetupError(
            f"early_stopping_patience is {optimisation.early_stopping_patience}, but there are no samples to validate "
            "on; give some, or set it to None"
        )
    watching = "schedule is plateau" if isinstance(optimisation.schedule, PlateauSchedule) else None
    watching = watching or ("track_spectral_radius is True" if optimisation.track_spectral_radius else None)
    if watching is not None and valid is None:
        raise SetupError(f"{watching}, but there are no samples to validate on; give some, or leave it out")
    if isinstance(model, QDEQClassifier):
        with setting_up():
            check_decay(optimisation.optimiser, model.options.trainable)
    task, keep = ClassifierTask(model, optimisation, loss), KeepBest()
    order = Batches(*data, batch_size=optimisation.batch_size, seed=seed)
    watched = None if valid is None else Batches(*valid, batch_size=VALIDATION_BATCH)
    device = data[0].device
    gpus = [device.index or 0] if device.type == "cuda" else []
    with (
        ONE_AT_A_TIME,
        torch.random.fork_rng(devices=gpus),
        torch_threads(optimisation.threads),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", NotConvergedWarning)  # told once, below, not epoch by epoch
        run_epochs(task, order, watched, seed=seed, callbacks=[keep, *_progress(verbose)], logger=False)
    model.load_tensors(keep.tensors)
    model.eval()
    _warn_of_unconverged(task.history, len(data[1]), stacklevel + 1)
    losses = [row.get("valid_loss", float("nan")) for row in task.history]
    best = int(np.nanargmin(losses)) + 1 if np.isfinite(losses).any() else len(losses)
    return Trained(task.history, best, task.circuits, task.shots)


class _CrossEntropy:
    """Cross entropy that names the label which there is no logit for."""

    def __init__(self, largest_label: int) -> None:
        self._largest = largest_label

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        if logits.ndim != 2:
            raise SetupError(
                f"the head gives {tuple(logits.shape)} for {len(labels)} samples; cross entropy needs (batch, "
                "classes); give a loss of your own for anything else"
            )
        if self._largest >= logits.shape[1]:
            raise DataError(
                f"a label is {self._largest}, but the model gives {logits.shape[1]} logits; expected labels from 0 to "
                f"{logits.shape[1] - 1}"
            )
        return torch.nn.functional.cross_entropy(logits, labels)


def _batch(model: Trainable, data: Any, name: str, *, classify: bool) -> Batch:
    """Features and labels on the model's device; `classify` if labels are to be classes."""
    if isinstance(data, Images):
        inputs, labels = data.pixels, data.labels
    elif isinstance(data, tuple):
        if len(data) != 2:
            raise DataError(f"{name}: holds {len(data)} parts; expected two, inputs and labels")
        inputs, labels = (
            as_array(part, source=name, noun=noun) for part, noun in zip(data, ("inputs", "labels"), strict=True)
        )
    else:
        inputs, labels = stacked(data, source=name)
    if inputs.dtype.kind == "U" or inputs.ndim < 2:
        shown = "words" if inputs.dtype.kind == "U" else f"an array of shape {inputs.shape}"
        raise DataError(f"{name}: inputs are {shown}; expected numbers of shape (samples, ...)")
    if labels.shape[:1] != inputs.shape[:1]:
        raise DataError(f"{name}: {len(inputs)} inputs have labels of shape {labels.shape}; expected one for each")
    if not len(inputs):
        raise DataError(f"{name}: there are no samples" + ("; leave it out" if name == "valid" else ""))
    try:
        features = model.features(torch.from_numpy(np.ascontiguousarray(inputs)))
    except ValueError as error:
        raise DataError(f"{name}: {error}") from None
    targets = torch.from_numpy(_targets(labels, name, classify=classify)).to(features.device)
    return features, targets.to(features.dtype) if targets.is_floating_point() else targets


def _targets(labels: np.ndarray, name: str, *, classify: bool) -> np.ndarray:
    """Labels that are classes, or numbers for a loss of the user's."""
    if labels.dtype.kind in "iu":
        if classify and labels.ndim == 1 and labels.min() < 0:
            first = int(np.flatnonzero(labels < 0)[0])
            raise DataError(f"{name}: sample {first} has label {labels[first]}; expected whole numbers from 0")
        if not classify or labels.ndim == 1:
            return labels.astype(np.int64)
    if labels.dtype.kind == "f" and not classify:
        bad = np.flatnonzero(~np.isfinite(labels).reshape(len(labels), -1).all(axis=1))
        if len(bad):
            raise DataError(f"{name}: the label of sample {bad[0]} is NaN or infinite")
        return labels
    kind = "words" if labels.dtype.kind == "U" else f"of type {labels.dtype} and shape {labels.shape}"
    wanted = "whole numbers from 0, (samples,), or a loss of your own" if classify else "numbers"
    raise DataError(f"{name}: labels are {kind}; expected {wanted}")


def _progress(verbose: bool) -> list[Callback]:
    if not verbose:
        return []
    from rich.console import Console

    from qdeq_qiskit.training.progress import TrainingProgress

    return [TrainingProgress(Console())]


def _warn_of_unconverged(history: list[dict[str, Any]], samples: int, stacklevel: int) -> None:
    epochs = [row for row in history if row["train_unconverged"]]
    if epochs:
        warnings.warn(
            f"in {len(epochs)} of {len(history)} epochs some samples did not converge; in the last of these, epoch "
            f"{epochs[-1]['epoch']}, it was {epochs[-1]['train_unconverged']} of {samples}",
            NotConvergedWarning,
            stacklevel=stacklevel,
        )
