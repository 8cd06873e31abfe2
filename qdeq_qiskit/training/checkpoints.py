"""Checkpoints: complete or absent, plain tensors and numbers, the last two of a run and the best model."""

from __future__ import annotations

import csv
import io
import os
import pickle
from pathlib import Path
from typing import Any, final

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.models.storage import save_classifier
from qdeq_qiskit.training.errors import RunError
from qdeq_qiskit.training.run_directory import RunDirectory
from qdeq_qiskit.training.task import ClassifierTask

LAST = "last.ckpt"
PREVIOUS = "previous.ckpt"


@final
class PlainCheckpointIO(CheckpointIO):
    """Lightning's checkpoints written atomically, and read without ever executing code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint; a killed process leaves the old file or the new one."""
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        write_atomically(Path(path), buffer.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint of tensors and plain values.

        Raises:
            RunError: the file is missing, damaged, or holds anything else.
        """
        return read_checkpoint(Path(path), map_location=map_location or "cpu")

    def remove_checkpoint(self, path: Any) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


@final
class KeepCheckpoints(Checkpoint):
    """After every epoch: the best model so far, the history as CSV, and a checkpoint to resume from.

    In this order, so that a run killed in between resumes from the epoch before and writes the same again.
    """

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self.best_loss = float("inf")
        self.best_epoch = 0
        self.best_tensors: dict[str, torch.Tensor] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what the epoch gave."""
        assert isinstance(pl_module, ClassifierTask)
        row = pl_module.history[-1]
        if not self.best_tensors or row["valid_loss"] < self.best_loss:
            self.best_loss, self.best_epoch = row["valid_loss"], row["epoch"]
            self.best_tensors = pl_module.classifier.tensors()
            save_classifier(pl_module.classifier, self.directory.model)
        write_atomically(self.directory.history, _as_csv(pl_module.history))
        last, previous = self.directory.checkpoints / LAST, self.directory.checkpoints / PREVIOUS
        if last.exists():
            os.replace(last, previous)
        trainer.save_checkpoint(last)

    def state_dict(self) -> dict[str, Any]:
        """The best model travels in the checkpoint, so that the two cannot contradict each other."""
        return {"best_loss": self.best_loss, "best_epoch": self.best_epoch, "best_tensors": self.best_tensors}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best model where the checkpoint left it."""
        self.best_loss, self.best_epoch = state_dict["best_loss"], state_dict["best_epoch"]
        self.best_tensors = state_dict["best_tensors"]


def read_checkpoint(path: Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint's content: tensors and plain values only.

    Raises:
        RunError: the file is missing, damaged, or holds anything else.
    """
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path}: is damaged, or no checkpoint of plain tensors: {reason}") from None
    if not isinstance(content, dict) or "qdeq" not in content:
        raise RunError(f"{path}: is not a checkpoint of this library")
    return content


def newest_checkpoint(directory: RunDirectory) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that can be read, and what was wrong with newer ones; None where no epoch was finished.

    Raises:
        RunError: there are checkpoints, but none can be read.
    """
    complaints = []
    for name in (LAST, PREVIOUS):
        path = directory.checkpoints / name
        if not path.exists():
            continue
        try:
            read_checkpoint(path)
        except RunError as error:
            complaints.append(str(error))
        else:
            return path, complaints
    if complaints:
        raise RunError(complaints[0])
    return None, []


def check_checkpoint(path: Path, task: ClassifierTask) -> None:
    """See that a checkpoint belongs to a task's model, before anything is changed because of it.

    Raises:
        RunError: it was written by another model, or lacks a part.
    """
    content = read_checkpoint(path)
    try:
        saved, best = content["state_dict"], content["callbacks"][KeepCheckpoints.__qualname__]["best_tensors"]
    except (KeyError, TypeError):
        raise RunError(f"{path}: is not a whole checkpoint of this library") from None
    for found, expected in ((saved, task.state_dict()), (best, task.classifier.tensors())):
        if set(found) != set(expected):
            raise RunError(
                f"{path}: is of another model: the weights are named {sorted(found)}; expected {sorted(expected)}"
            )
        for name, tensor in found.items():
            if tensor.shape != expected[name].shape:
                raise RunError(
                    f"{path}: is of another model: {name} has shape {tuple(tensor.shape)}, but this run's is "
                    f"{tuple(expected[name].shape)}"
                )


def _as_csv(history: list[dict[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
