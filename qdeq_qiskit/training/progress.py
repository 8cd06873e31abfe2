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
from qdeq_qiskit.training.processes.share import ALONE, Share
from qdeq_qiskit.training.task import ClassifierTask

REFRESH_SECONDS = 0.25
WIDE = 135  # columns that hold every figure


@final
class SeededEpochs(Callback):
    """One seed for everything random in an epoch, so that a resumed run draws what an uninterrupted one would.

    Of several processes, which have the same order of batches, each draws dropout and shots of its own.
    """

    def __init__(self, seed: int, batches: Batches, share: Share = ALONE) -> None:
        self._seed = seed
        self._batches = batches
        self._share = share

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed dropout and shots, and say which epoch's batches come next."""
        seed = self._share.seed(epoch_seed(self._seed, trainer.current_epoch))
        torch.manual_seed(seed)
        assert isinstance(pl_module, ClassifierTask)
        pl_module.classifier.restart_shots(seed)
        self._batches.set_epoch(trainer.current_epoch)


@final
class TrainingProgress(Callback):
    """One line for the whole run: epochs, time left, loss, accuracies, residual, iterations.

    Figures are fetched four times a second at most, never once a step, since fetching them waits for the device. The
    last ones are those of the last epoch, whole. A narrow terminal has fewer figures, never less of epoch and time.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._next = 0.0
        self._room = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the line."""
        wide = self._console.width >= WIDE
        left = (TimeRemainingColumn(), TextColumn("left"))
        columns = (
            TextColumn("[bold]epoch"),
            MofNCompleteColumn(),
            BarColumn(bar_width=24 if wide else 8),
            TextColumn("{task.fields[figures]}"),
            *((TimeElapsedColumn(), *left) if wide else left),
        )
        around = len(f"epoch {trainer.max_epochs}/{trainer.max_epochs}   0:00:00 left")
        self._room = self._console.width - around - (24 + len(" 0:00:00") if wide else 8)
        self._progress = Progress(*columns, console=self._console, refresh_per_second=1 / REFRESH_SECONDS)
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
        history = pl_module.history
        valid = history[-1].get("valid_accuracy") if history else None
        self._progress.update(
            self._task,
            completed=trainer.current_epoch + (batch_idx + 1) / max(1, int(trainer.num_training_batches)),
            figures=_figures(pl_module.tally.latest(), valid, self._room),
        )

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Complete the line with the last epoch's figures; say so if epochs are left over."""
        assert isinstance(pl_module, ClassifierTask)
        history, early = pl_module.history, False
        if self._progress is not None and history:
            row, done = history[-1], len(history)
            early = done < (trainer.max_epochs or done)
            trained = {name: row[f"train_{name}"] for name in ("loss", "accuracy", "residual", "iterations")}
            figures = _figures(trained, row.get("valid_accuracy"), self._room)
            self._progress.update(self._task, completed=done, total=done, figures=figures)
        self._stop()
        if early:
            self._console.print(
                f"stopped early, after {len(history)} of {trainer.max_epochs} epochs: the validation loss fell no more",
                highlight=False,
            )

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def _figures(trained: dict[str, float], valid: float | None, room: int) -> str:
    """As many figures as there is room for, the most telling ones first."""
    # In direct mode and while warming up there is no residual.
    residual = "–" if math.isnan(trained["residual"]) else f"{trained['residual']:.0e}"
    parts = [
        f"loss {trained['loss']:.3f}",
        f"train acc {trained['accuracy']:.3f}",
        *([] if valid is None else [f"valid acc {valid:.3f}"]),
        f"residual {residual}",
        f"iterations {trained['iterations']:.1f}",
    ]
    while len("  ".join(parts)) > room and len(parts) > 1:
        parts.pop()
    return "  ".join(parts)
