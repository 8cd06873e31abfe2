"""What the terminal shows while a run trains."""

from __future__ import annotations

import math
import time
from typing import Any, final

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from qdeq_qiskit.training.batches import Batches, epoch_seed
from qdeq_qiskit.training.task import ClassifierTask

REFRESH_SECONDS = 0.25


@final
class SeededEpochs(Callback):
    """One seed for everything random in an epoch, so that a resumed run draws what an uninterrupted one would."""

    def __init__(self, seed: int, batches: Batches) -> None:
        self._seed = seed
        self._batches = batches

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed dropout, and say which epoch's batches come next."""
        torch.manual_seed(epoch_seed(self._seed, trainer.current_epoch))
        self._batches.set_epoch(trainer.current_epoch)


@final
class TrainingProgress(Callback):
    """One line for the whole run: epochs, time left, loss, accuracy, residual, iterations.

    Figures are fetched four times a second at most, never once a step, since fetching them waits for the device.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._next = 0.0
        self._validated = ""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the line."""
        self._progress = Progress(
            TextColumn("[bold]epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            refresh_per_second=1 / REFRESH_SECONDS,
        )
        self._task = self._progress.add_task(
            "train", total=trainer.max_epochs, completed=trainer.current_epoch, figures=""
        )
        self._progress.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Refresh the figures, if it is time."""
        now = time.monotonic()
        if now < self._next or self._progress is None:
            return
        self._next = now + REFRESH_SECONDS
        assert isinstance(pl_module, ClassifierTask)
        figures = pl_module.tally.latest()
        # In direct mode and while warming up there is none.
        residual = "–" if math.isnan(figures["residual"]) else f"{figures['residual']:.0e}"
        self._progress.update(
            self._task,
            completed=trainer.current_epoch + (batch_idx + 1) / max(1, int(trainer.num_training_batches)),
            figures=f"loss {figures['loss']:.3f}  acc {figures['accuracy']:.3f}  residual {residual}  "
            f"iterations {figures['iterations']:.1f}{self._validated}",
        )

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the validation accuracy for the line."""
        assert isinstance(pl_module, ClassifierTask)
        if pl_module.history:
            self._validated = f"  valid {pl_module.history[-1]['valid_accuracy']:.3f}"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Complete the line."""
        if self._progress is not None:
            self._progress.update(self._task, completed=trainer.current_epoch)
        self._stop()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
