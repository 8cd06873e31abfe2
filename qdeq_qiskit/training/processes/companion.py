"""The program of every process of a run but the first: it computes its share, and leaves no trace."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import sys
import threading
import traceback
import warnings
from pathlib import Path
from typing import final

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, Checkpoint

from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.checkpoints import PlainCheckpointIO
from qdeq_qiskit.training.errors import DataError, RunError, SetupError, TrainingError
from qdeq_qiskit.training.loop import quiet_lightning, run_share, torch_threads
from qdeq_qiskit.training.processes.assignment import ASSIGNMENT, LOST_CONTACT, STORE, Assignment, ready
from qdeq_qiskit.training.processes.share import Share
from qdeq_qiskit.training.processes.strategy import joined
from qdeq_qiskit.training.task import ClassifierTask

SECONDS_TO_TIDY = 2.0


def main() -> None:
    """Do what the folder that is the first argument says, as the process that is the second."""
    folder, rank = Path(sys.argv[1]), int(sys.argv[2])
    watcher = threading.Thread(target=_end_with_the_first, args=(folder,), daemon=True)
    watcher.start()
    try:
        with (folder / ASSIGNMENT).open("rb") as file:
            assignment = pickle.load(file)
        assert isinstance(assignment, Assignment)
        _take_part(assignment, Share(rank, assignment.processes), folder)
    except BaseException as error:
        traceback.print_exc()
        print(_sentence(error), file=sys.stderr, flush=True)
        if _is_of_others(error) or not folder.exists():
            watcher.join(SECONDS_TO_TIDY)  # where it was the first process that was lost
            os._exit(LOST_CONTACT)
        os._exit(1)


def _take_part(assignment: Assignment, share: Share, folder: Path) -> None:
    warnings.simplefilter("ignore")  # the first process, with the same model, says it; figures are gathered there
    with torch_threads(assignment.threads):
        classifier = QDEQClassifier.from_recipe(assignment.classifier, seed=assignment.seed)
        device = classifier.weight.device
        train, valid = assignment.batches(device)
        ready(folder, share.rank).touch()
        with joined(share, folder / STORE, device), quiet_lightning():
            run_share(
                ClassifierTask(classifier, assignment.optimisation),
                train,
                valid,
                share,
                seed=assignment.seed,
                callbacks=[_Follow(), _EndAtOnce()],
                checkpoint=assignment.checkpoint,
                plugins=[PlainCheckpointIO()],
                logger=False,
            )


@final
class _Follow(Checkpoint):
    """Takes its part in the first process's checkpoints, which is to wait until they are written."""

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Wait; Lightning writes in the first process alone."""
        trainer.save_checkpoint(os.devnull)


@final
class _EndAtOnce(Callback):
    """Undoes Lightning's handler of SIGTERM, which would call the others in the middle of what they do."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Nothing here needs to be put in order."""
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_with_the_first(folder: Path) -> None:
    """In a thread: the first process holds the other end of the standard input as long as it lives."""
    with contextlib.suppress(OSError):
        while os.read(0, 64):
            pass
    shutil.rmtree(folder, ignore_errors=True)  # where it was killed, nobody else does
    os._exit(LOST_CONTACT)


def _sentence(error: BaseException) -> str:
    if isinstance(error, DataError | RunError | SetupError | TrainingError):
        return " ".join(str(error).split())
    reason = str(error).strip().splitlines()
    return f"{type(error).__name__}: {reason[0]}" if reason else type(error).__name__


def _is_of_others(error: BaseException) -> bool:
    """Whether a process failed since it could not reach another one any more."""
    from torch import distributed

    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))
