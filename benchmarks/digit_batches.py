"""Batches of digits for the training steps: MNIST where its folder is at hand, else the bundled digits, enlarged."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from qdeq_qiskit.training.data.datasets import load_splits
from qdeq_qiskit.training.recipe import TrainingRecipe

BATCH = 256


def data_name() -> str:
    """Which images `feature_batches` takes."""
    return "MNIST" if os.environ.get("QDEQ_DATA_DIR") else "scikit-learn's digits, enlarged to 28×28"


def num_classes(recipe: TrainingRecipe) -> int:
    """Of the recipe's images, which are digits in ten classes unless it chooses some of them."""
    return 10 if recipe.data.classes is None else len(recipe.data.classes)


def feature_batches(recipe: TrainingRecipe, *, count: int = 64) -> list[tuple[Tensor, Tensor]]:
    """Shuffled batches of features, (256, d), and labels, (256,), as the recipe makes them, ready in memory."""
    at_hand = bool(os.environ.get("QDEQ_DATA_DIR"))
    data = recipe.data if at_hand else recipe.data.model_copy(update={"name": "digits"})
    train = load_splits(data).train
    pixels, labels = torch.from_numpy(train.pixels), torch.from_numpy(train.labels)
    if not at_hand:
        pixels = torch.nn.functional.interpolate(pixels.unsqueeze(1), size=(28, 28), mode="bilinear").squeeze(1)
    features = recipe.model.features.of(pixels)
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randint(len(labels), (BATCH,), generator=generator) for _ in range(count)]
    return [(features[index], labels[index]) for index in rows]
