"""Lightning's loop over the epochs of one classifier, whether or not a run directory stands behind it."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping

from qdeq_qiskit.training.batches import Batches
from qdeq_qiskit.training.interruption import StopBetweenBatches
from qdeq_qiskit.training.processes.share import ALONE, Share, SharedBatches
from qdeq_qiskit.training.progress import SeededEpochs
from qdeq_qiskit.training.task import ClassifierTask


def run_epochs(
    task: ClassifierTask,
    train: Batches,
    valid: Batches | None,
    *,
    seed: int,
    callbacks: Sequence[Callback] = (),
    checkpoint: Path | None = None,
    **trainer: Any,
) -> None:
    """Train a task's classifier in place, on the device that it is on, for the epochs that its options say.

    It is put into training mode, which Lightning leaves to its callers: a model that was trained or loaded is not.

    Args:
        task: the classifier and how it is trained.
        train: the batches to learn from.
        valid: the batches that early stopping watches; None for none, and then no `valid_` figures in the history.
        seed: of batch order, dropout and shots. Torch's global generator is seeded with it, epoch by epoch.
        callbacks: called after each epoch's seed is set. Of several processes the others wait until one of these has
            called `save_checkpoint` after each epoch.
        checkpoint: where to go on from.
        trainer: further arguments of Lightning's trainer.

    Raises:
        KeyboardInterrupt: training was interrupted; see `interruption`.
        LostProcessError: there are several processes, and one of them has ended before its time.
        SetupError: there are to be several, and `torch.distributed` is in use already.
    """
    stop = StopBetweenBatches()
    with quiet_lightning(), stop.listening(), _processes(task, train, valid, seed, checkpoint, stop) as share:
        run_share(task, train, valid, share, seed=seed, callbacks=[*callbacks, stop], checkpoint=checkpoint, **trainer)


def run_share(
    task: ClassifierTask,
    train: Batches,
    valid: Batches | None,
    share: Share,
    *,
    seed: int,
    callbacks: Sequence[Callback],
    checkpoint: Path | None,
    **trainer: Any,
) -> None:
    """What one of the processes does in `run_epochs`, or the only one.

    Args:
        task: as there.
        train: as there: all of every batch.
        valid: as there.
        share: which process it is; where there are several, they have met.
        seed: as there.
        callbacks: called after each epoch's seed is set, and before early stopping.
        checkpoint: as there.
        trainer: as there.
    """
    options, classifier = task.optimisation, task.classifier
    device = next(classifier.parameters()).device
    classifier.train()
    called = [SeededEpochs(seed, train, share), *callbacks]
    if options.early_stopping_patience is not None:
        called.append(EarlyStopping("valid_loss", patience=options.early_stopping_patience))
    batches: tuple[Batches | SharedBatches, Batches | SharedBatches | None] = train, valid
    if share.processes > 1:
        from qdeq_qiskit.training.processes.strategy import StartedAlready

        trainer |= {"strategy": StartedAlready(share), "num_nodes": share.processes}
        batches = (
            SharedBatches(train, share, weighted=True),
            None if valid is None else SharedBatches(valid, share, weighted=False),
        )
    pl.Trainer(
        accelerator="gpu" if device.type == "cuda" else "cpu",
        devices=[device.index or 0] if device.type == "cuda" else 1,
        max_epochs=options.epochs,
        gradient_clip_val=options.gradient_clip,
        callbacks=called,
        log_every_n_steps=sys.maxsize,  # figures are logged once an epoch, by the task
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **trainer,
    ).fit(task, *batches, ckpt_path=checkpoint, weights_only=True)
    classifier.to(device)  # Lightning leaves a model that was on a GPU on the CPU


@contextlib.contextmanager
def _processes(
    task: ClassifierTask,
    train: Batches,
    valid: Batches | None,
    seed: int,
    checkpoint: Path | None,
    stop: StopBetweenBatches,
) -> Iterator[Share]:
    """Be the first of as many processes as the task's options say."""
    if task.optimisation.processes == 1:
        yield ALONE
        return
    from qdeq_qiskit.training.processes.assignment import Assignment
    from qdeq_qiskit.training.processes.companions import accompanied

    assignment = Assignment.of(task, train, valid, seed=seed, checkpoint=checkpoint)
    with torch_threads(assignment.threads), accompanied(assignment, stop) as share:
        yield share


@final
class KeepBest(Checkpoint):
    """The weights of the epoch with the least validation loss, in memory; of the last epoch where nothing is validated.

    Lightning calls a `Checkpoint` after the task has closed its epoch, and makes none of its own besides it.

    Attributes:
        loss: that loss.
        tensors: those weights, by name; empty before the first epoch.
    """

    def __init__(self) -> None:
        self.loss = float("inf")
        self.tensors: dict[str, torch.Tensor] = {}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Keep what is better than before."""
        assert isinstance(pl_module, ClassifierTask)
        loss = pl_module.history[-1].get("valid_loss")
        if loss is None or not self.tensors or loss < self.loss:
            self.loss = self.loss if loss is None else loss
            self.tensors = pl_module.classifier.tensors()


@contextlib.contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """A number of CPU threads for torch, for a while; results may depend on it in the last digit."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's advice (more workers, log more often), which does not fit batches that are slices.

    A Ctrl-C that comes as a KeyboardInterrupt, which Lightning turns into an exit with signals blocked, stays one.
    """
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    levels = [logger.level for logger in loggers]
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)  # None for one that was not set in Python
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=".*(does not have many workers|log_every_n_steps|isinstance).*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        except SystemExit:
            raise KeyboardInterrupt from None
        finally:
            if in_main_thread and handler is not None:
                signal.signal(signal.SIGINT, handler)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
