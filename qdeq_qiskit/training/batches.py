"""Batches as slices of tensors that stay in memory; nothing is collated item by item."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


class Batches:
    """An epoch's batches: a permutation drawn from (seed, epoch), then slices.

    The order depends on the seed and the epoch alone, so a run that resumes at an epoch sees the batches that an
    uninterrupted one would have seen. A last, smaller batch is kept.

    Args:
        features: (N, d).
        labels: (N,).
        batch_size: samples in a batch.
        seed: None to leave the order as it is (validation, testing).
    """

    def __init__(self, features: Tensor, labels: Tensor, *, batch_size: int, seed: int | None = None) -> None:
        if len(features) != len(labels):
            raise ValueError(f"{len(features)} features and {len(labels)} labels do not belong together")
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; expected at least 1")
        self.features, self.labels = features, labels
        self.batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next iteration is."""
        self._epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.labels) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A generator: the permutation is drawn when the first batch is asked for, after `set_epoch`.
        features, labels = self.features, self.labels
        if self._seed is not None:
            order = torch.randperm(len(labels), generator=epoch_generator(self._seed, self._epoch)).to(labels.device)
            features, labels = features[order], labels[order]
        yield from zip(features.split(self.batch_size), labels.split(self.batch_size), strict=True)


AFTER_TRAINING = -1
"""In place of an epoch: what is drawn when the last one is over."""


def epoch_seed(seed: int, epoch: int) -> int:
    """One 63-bit seed for an epoch of a run; neighbouring seeds and epochs do not share streams."""
    value = (seed * 0x9E3779B97F4A7C15 + epoch + 1) & (2**64 - 1)
    for factor, shift in ((0xBF58476D1CE4E5B9, 30), (0x94D049BB133111EB, 27)):  # the mixing steps of splitmix64
        value = ((value ^ (value >> shift)) * factor) & (2**64 - 1)
    return (value ^ (value >> 31)) >> 1


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """A CPU generator for an epoch of a run."""
    return torch.Generator().manual_seed(epoch_seed(seed, epoch))
