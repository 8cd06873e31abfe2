"""What a process of a run must know to take part in it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from qdeq_qiskit.models import ClassifierRecipe, QDEQClassifier
from qdeq_qiskit.training.batches import Batches
from qdeq_qiskit.training.recipe import OptimisationRecipe
from qdeq_qiskit.training.task import ClassifierTask

ASSIGNMENT = "assignment"
STORE = "store"
LOST_CONTACT = 75
"""Exit code of a process that failed because another one had."""

_GPUS = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Assignment:
    """The same for all processes; the numbers that they begin with are those of the first.

    Attributes:
        classifier: what is trained.
        optimisation: how.
        seed: of the run.
        train: features, (N, d), and labels, (N,), on the CPU.
        valid: the same, to validate on; None for none.
        valid_batch: samples in a batch of validation.
        checkpoint: where to go on from.
        device: what the first process computes on, and the others each on one of the kind.
    """

    classifier: ClassifierRecipe
    optimisation: OptimisationRecipe
    seed: int
    train: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor] | None
    valid_batch: int
    checkpoint: Path | None
    device: torch.device

    @classmethod
    def of(
        cls, task: ClassifierTask, train: Batches, valid: Batches | None, *, seed: int, checkpoint: Path | None
    ) -> Self:
        """What the first process is about to do itself."""
        assert isinstance(task.classifier, QDEQClassifier)
        assert task.classifier.recipe is not None
        return cls(
            classifier=task.classifier.recipe,
            optimisation=task.optimisation,
            seed=seed,
            train=_on_cpu(train),
            valid=None if valid is None else _on_cpu(valid),
            valid_batch=0 if valid is None else valid.batch_size,
            checkpoint=checkpoint,
            device=task.classifier.weight.device,
        )

    @property
    def processes(self) -> int:
        """How many there are, with the first."""
        return self.optimisation.processes

    @property
    def threads(self) -> int:
        """CPU threads of torch in each; where the recipe leaves them to torch, its own choice is divided."""
        return self.optimisation.threads or max(1, torch.get_num_threads() // self.processes)

    def batches(self, device: torch.device) -> tuple[Batches, Batches | None]:
        """Those of training and of validation, all of each."""
        train = Batches(
            *(part.to(device) for part in self.train), batch_size=self.optimisation.batch_size, seed=self.seed
        )
        if self.valid is None:
            return train, None
        return train, Batches(*(part.to(device) for part in self.valid), batch_size=self.valid_batch)

    def environment(self, rank: int) -> dict[str, str]:
        """The environment of a process: this one's modules are found, and of several GPUs it sees its own."""
        path = os.pathsep.join(os.path.abspath(each) for each in sys.path)
        environment = {**os.environ, "PYTHONPATH": path}
        if self.device.type == "cuda":
            visible = os.environ.get(_GPUS) or ",".join(map(str, range(torch.cuda.device_count())))
            environment[_GPUS] = visible.split(",")[rank].strip()
        return environment


def _on_cpu(batches: Batches) -> tuple[Tensor, Tensor]:
    return batches.features.cpu(), batches.labels.cpu()


def ready(folder: Path, rank: int) -> Path:
    """A file that is there when a process is about to meet the others."""
    return folder / f"ready-{rank}"


def complaints(folder: Path, rank: int) -> Path:
    """Where a process's standard error goes; its last line is the reason of its failure."""
    return folder / f"complaints-{rank}"
