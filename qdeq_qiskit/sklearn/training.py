"""Training for the estimator: the project's own, with a share of the samples held out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training import OptimisationRecipe
from qdeq_qiskit.training.in_memory import Trained, train_on_features


def train_on_share(
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
    targets = torch.from_numpy(labels).to(features.device)
    data, *valid = [(features[rows], targets[rows]) for rows in _split(labels, validation_fraction, seed)]
    return train_on_features(
        classifier, data, valid[0] if valid else None, optimisation, seed=seed, verbose=verbose, stacklevel=4
    )


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
