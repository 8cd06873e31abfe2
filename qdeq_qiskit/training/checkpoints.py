"""Checkpoints: complete or absent, plain tensors and numbers, the last two of a run and the best model."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any, final

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from pydantic import BaseModel, ConfigDict, ValidationError

from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.models.storage import save_classifier
from qdeq_qiskit.training.errors import RunError
from qdeq_qiskit.training.peak_memory import MemoryMark
from qdeq_qiskit.training.run_directory import RunDirectory
from qdeq_qiskit.training.seal import sealed, unsealed
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
        write_atomically(Path(path), sealed(buffer.getvalue()))

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

    def __init__(self, directory: RunDirectory, memory: MemoryMark | None = None) -> None:
        self.directory = directory
        self.memory = memory or MemoryMark(None)
        self.begun = False
        self.best_loss = float("inf")
        self.best_epoch = 0
        self.best_tensors: dict[str, torch.Tensor] = {}

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Whatever the checkpoint holds has been taken up."""
        self.begun = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what the epoch gave."""
        assert isinstance(pl_module, ClassifierTask)
        row = pl_module.history[-1]
        if not self.best_tensors or row["valid_loss"] < self.best_loss:
            self.best_loss, self.best_epoch = row["valid_loss"], row["epoch"]
            self.best_tensors = pl_module.classifier.tensors()
            assert isinstance(pl_module.classifier, QDEQClassifier)
            save_classifier(pl_module.classifier, self.directory.model)
        write_history(self.directory, pl_module.history)
        last, previous = self.directory.checkpoints / LAST, self.directory.checkpoints / PREVIOUS
        if last.exists():
            os.replace(last, previous)
        trainer.save_checkpoint(last)

    def state_dict(self) -> dict[str, Any]:
        """The best model travels in the checkpoint, so that the two cannot contradict each other."""
        return {
            "best_loss": self.best_loss,
            "best_epoch": self.best_epoch,
            "best_tensors": self.best_tensors,
            "added_memory_mb": self.memory.added_mb(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the best model where the checkpoint left it."""
        self.best_loss, self.best_epoch = state_dict["best_loss"], state_dict["best_epoch"]
        self.best_tensors = state_dict["best_tensors"]
        self.memory = self.memory.after(state_dict.get("added_memory_mb"))  # earlier versions did not measure it


def read_checkpoint(path: Path, *, map_location: Any = "cpu") -> dict[str, Any]:
    """A checkpoint's content: tensors and plain values only.

    Raises:
        RunError: the file is missing, damaged, or holds anything else.
    """
    try:
        archive = unsealed(path.read_bytes())
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
    if archive is None:
        raise RunError(f"{path}: is damaged: its content is not that of the SHA-256 at its end")
    try:
        content = torch.load(io.BytesIO(archive), map_location=map_location, weights_only=True)
        _Content.model_validate(content)
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise RunError(f"{path}: is not a whole checkpoint of this library: {key or 'all of it'} is wrong") from None
    except Exception as error:  # torch raises whatever it trips over
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RunError(f"{path}: is damaged, or no checkpoint of plain tensors: {reason}") from None
    assert isinstance(content, dict)
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
        raise RunError(
            f"{complaints[0]}; there is no other checkpoint that could be used; begin the run anew with "
            f"`qdeq fit {directory.path / 'recipe.yaml'}`"
        )
    return None, []


def check_checkpoint(path: Path, task: ClassifierTask) -> None:
    """See that a checkpoint belongs to a task's model, before anything is changed because of it.

    Raises:
        RunError: it was written by another model, or lacks a part.
    """
    content = read_checkpoint(path)
    saved, best = content["state_dict"], content["callbacks"][KeepCheckpoints.__qualname__]["best_tensors"]
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


def write_history(directory: RunDirectory, history: list[dict[str, Any]]) -> None:
    """Write `history.csv`."""
    text = io.StringIO(newline="")
    columns = dict.fromkeys(name for row in history for name in row)  # rows of earlier versions have fewer
    writer = csv.DictWriter(text, fieldnames=list(columns), restval="nan", lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_atomically(directory.history, text.getvalue())


_CONFIG = ConfigDict(extra="allow", strict=True, arbitrary_types_allowed=True)


@final
class _Figures(BaseModel):
    """What `ClassifierTask` keeps."""

    model_config = _CONFIG

    history: list[dict[str, int | float]]
    circuits: int
    shots: int


@final
class _Best(BaseModel):
    """What `KeepCheckpoints` keeps."""

    model_config = _CONFIG

    best_loss: float
    best_epoch: int
    best_tensors: dict[str, torch.Tensor]


@final
class _Callbacks(BaseModel):
    """Each callback's part."""

    model_config = _CONFIG

    KeepCheckpoints: _Best


@final
class _Content(BaseModel):
    """The parts of a checkpoint that this library reads, and those without which Lightning cannot go on."""

    model_config = _CONFIG

    qdeq: _Figures
    callbacks: _Callbacks
    state_dict: dict[str, Any]
    optimizer_states: list[dict[str, Any]]
    loops: dict[str, Any]
    epoch: int
    global_step: int
