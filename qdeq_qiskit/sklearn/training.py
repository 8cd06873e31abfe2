"""Training for the estimator: the project's own task and loop, in memory, leaving the process as it was."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from qdeq_qiskit.equilibrium import NotConvergedWarning
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training import OptimisationRecipe
from qdeq_qiskit.training.batches import Batches
from qdeq_qiskit.training.loop import KeepBest, run_epochs, torch_threads
from qdeq_qiskit.training.task import ClassifierTask

VALIDATION_BATCH = 2048

# Torch's global generator, its number of threads and the filters of warnings belong to the process: one at a time.
ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Trained:
    """What training left behind, besides the weights.

    Attributes:
        history: one row of figures for each epoch.
        circuits: circuits that were evaluated.
        shots: shots that they took; 0 where they are exact.
    """

    history: list[dict[str, Any]]
    circuits: int
    shots: int


def train(
    classifier: QDEQClassifier,
    features: Tensor,
    labels: NDArray[np.int64],
    optimisation: OptimisationRecipe,
    *,
    validation_fraction: float | None,
    seed: int,
    verbose: bool = False,
) -> Trained:
    """Train a classifier in place; it ends with the last epoch's weights, or with the best where samples are held out.

    Args:
        classifier: what is trained.
        features: (N, D), on the classifier's device.
        labels: (N,), 0 to classes − 1.
        optimisation: how.
        validation_fraction: share of the samples, of each class alike, on which the best epoch is chosen; None for
            none.
        seed: of the share, the batch order, dropout and shots.
        verbose: whether progress is shown on the terminal.
    """
    split = _split(labels, validation_fraction, seed)
    targets = torch.from_numpy(labels).to(features.device)
    batches = [
        Batches(features[rows], targets[rows], batch_size=size, seed=order)
        for rows, size, order in zip(split, (optimisation.batch_size, VALIDATION_BATCH), (seed, None), strict=False)
    ]
    task, keep = ClassifierTask(classifier, optimisation), KeepBest()
    valid = batches[1] if len(batches) > 1 else None
    callbacks = [keep, *_progress(verbose)]
    with torch_threads(optimisation.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)  # told once, below, not epoch by epoch
        run_epochs(task, batches[0], valid, seed=seed, callbacks=callbacks, logger=False)
    classifier.load_tensors(keep.tensors)
    classifier.eval()
    _warn_of_unconverged(task.history, len(split[0]))
    return Trained(task.history, task.circuits, task.shots)


def _split(labels: NDArray[np.int64], fraction: float | None, seed: int) -> list[Tensor]:
    """The rows to train on and, with a fraction, those to validate on, each in the table's order."""
    rows = np.arange(len(labels))
    if fraction is None:
        return [torch.from_numpy(rows)]
    from sklearn.model_selection import train_test_split

    try:
        parts = train_test_split(rows, test_size=fraction, stratify=labels, random_state=seed % 2**32)
    except ValueError as error:
        raise ValueError(f"validation_fraction is {fraction}, but the samples cannot be split so: {error}") from None
    return [torch.from_numpy(np.sort(part)) for part in parts]


def _progress(verbose: bool) -> list[Callback]:
    if not verbose:
        return []
    from rich.console import Console

    from qdeq_qiskit.training.progress import TrainingProgress

    return [TrainingProgress(Console())]


def _warn_of_unconverged(history: list[dict[str, Any]], samples: int) -> None:
    epochs = [row for row in history if row["train_unconverged"]]
    if epochs:
        warnings.warn(
            f"in {len(epochs)} of {len(history)} epochs some samples did not converge; in the last of these, epoch "
            f"{epochs[-1]['epoch']}, it was {epochs[-1]['train_unconverged']} of {samples}",
            NotConvergedWarning,
            stacklevel=4,
        )
