"""Which samples of every batch are whose."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from qdeq_qiskit.training.batches import Batches, epoch_seed


@dataclass(frozen=True)
class Share:
    """One of several processes, each of which computes a part of every batch.

    Attributes:
        rank: which one, from 0; the first is the one that writes files.
        processes: how many there are.
    """

    rank: int
    processes: int

    def of(self, size: int) -> range:
        """The samples of a batch of `size` that are this process's: contiguous, and one more or less than others'."""
        return range(self.rank * size // self.processes, (self.rank + 1) * size // self.processes)

    def seed(self, seed: int) -> int:
        """A seed of its own for what is drawn sample by sample: dropout, shots. The first process keeps the run's."""
        return seed if self.rank == 0 else epoch_seed(seed, self.rank)


ALONE = Share(0, 1)


class SharedBatches:
    """One process's slices of the batches that a single process would have, in the same order.

    Args:
        batches: all of every batch.
        share: whose slices are wanted.
        weighted: whether each slice comes with its weight in the mean over the batch, times the number of processes,
            since gradients are averaged over the processes. A process for which a batch has no sample then borrows the
            batch's first one, with weight 0, so that it takes the step with the others. Without weights it goes
            without that batch.
    """

    def __init__(self, batches: Batches, share: Share, *, weighted: bool) -> None:
        self._batches, self._share, self._weighted = batches, share, weighted

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor] | tuple[Tensor, Tensor, float]]:
        for features, labels in self._batches:
            own = self._share.of(len(labels))
            if not self._weighted:
                if own:
                    yield features[own.start : own.stop], labels[own.start : own.stop]
            elif own:
                weight = self._share.processes * len(own) / len(labels)
                yield features[own.start : own.stop], labels[own.start : own.stop], weight
            else:
                yield features[:1], labels[:1], 0.0
