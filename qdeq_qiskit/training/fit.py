"""One training run, from a recipe to a run directory with a result."""

from __future__ import annotations

import warnings
from pathlib import Path

from rich.console import Console

from qdeq_qiskit.training.checkpoints import (
    LAST,
    KeepCheckpoints,
    PlainCheckpointIO,
    check_checkpoint,
    newest_checkpoint,
    read_checkpoint,
)
from qdeq_qiskit.training.conclusion import Trained, conclude, conclude_with_report, damages
from qdeq_qiskit.training.continuation import (
    check_same,
    check_same_data,
    origin_of,
    splits_of,
    telling_how_to_continue,
)
from qdeq_qiskit.training.data.published import chosen_folder
from qdeq_qiskit.training.errors import RunError
from qdeq_qiskit.training.event_log import EventLog
from qdeq_qiskit.training.interruption import sigterm_as_interrupt
from qdeq_qiskit.training.loop import run_epochs, torch_threads
from qdeq_qiskit.training.peak_memory import MemoryMark
from qdeq_qiskit.training.preparation import Prepared, prepare
from qdeq_qiskit.training.progress import TrainingProgress
from qdeq_qiskit.training.recipe import TrainingRecipe
from qdeq_qiskit.training.run_directory import RunDirectory
from qdeq_qiskit.training.task import ClassifierTask

VALIDATION_BATCH = 2048


def fit(
    recipe: TrainingRecipe,
    *,
    name: str = "run",
    out: Path | None = None,
    data_dir: Path | None = None,
    console: Console | None = None,
    report: bool = True,
) -> RunDirectory:
    """Train from the beginning.

    Nothing is written before the data are read and the model is built; a run that fails before its first epoch is
    complete leaves no directory behind.

    Args:
        recipe: what to do.
        name: what the run is called, and its directory if `out` is not given.
        out: a new or empty directory; None for the first free `runs/<name>-<number>`.
        data_dir: folder of the data set's files; see `idx.read_split`.
        console: where progress is shown; None for nowhere.
        report: whether the report is written, too; `rewrite_report` does it at any time.

    Returns:
        The run's directory, with its result and report.

    Raises:
        DataError, RunError: the data or the directory cannot be used, or the disk is full.
        KeyboardInterrupt: with how to go on; `interruption.Terminated` after a SIGTERM.
        ValueError: the parts of the recipe do not fit together.
        TrainingError: training failed.
    """
    with sigterm_as_interrupt(), torch_threads(recipe.optimisation.threads):
        memory = MemoryMark.set()
        prepared = prepare(recipe, data_dir)
        directory = RunDirectory.claim(out, name=name)
        with directory.locked():
            directory.check_free()
            directory.tidy()
            try:
                with telling_how_to_continue(directory, begun=False):
                    directory.begin(recipe, origin_of(name, chosen_folder(data_dir), prepared.splits))
                    trained = _train(prepared, directory, console, memory, checkpoint=None)
            except BaseException:
                if not any(directory.checkpoints.glob("*.ckpt")):
                    directory.discard()
                raise
            conclude(prepared, directory, trained, report=report)
    return directory


def resume(
    path: Path,
    *,
    recipe: TrainingRecipe | None = None,
    data_dir: Path | None = None,
    console: Console | None = None,
    report: bool = True,
) -> RunDirectory:
    """Continue an interrupted run from its newest readable checkpoint; it ends as if it had not been interrupted.

    Where a file of a finished run is missing or damaged, it is written anew.

    Args:
        path: the run's directory.
        recipe: the run's recipe once more, perhaps with more `optimisation.epochs`; None for the recorded one.
        data_dir: as for `fit`; None for where the run was begun with.
        console: as for `fit`.
        report: as for `fit`.

    Raises:
        RunError: no run there, it is finished, its checkpoints are damaged, of another model or gone, `recipe` or
            the data are others, the disk is full, or another process is training the run.
        KeyboardInterrupt: as for `fit`.
    """
    directory = RunDirectory.open(path)
    with sigterm_as_interrupt(), directory.locked():
        directory.tidy()
        recorded = directory.recipe()
        recipe = recipe or recorded
        check_same(recorded, recipe, path)
        more = recipe.optimisation.epochs - recorded.optimisation.epochs
        if directory.finished and more <= 0:
            complaints = damages(directory, report=report)
            if not complaints:
                raise RunError(
                    f"{path}: the run is finished; to train it further, --set optimisation.epochs to more than "
                    f"{recorded.optimisation.epochs}"
                )
            for complaint in complaints:
                warnings.warn(f"{complaint}; it is written anew", stacklevel=2)
            if len(complaints) == 1 and report and not directory.report.is_file():
                conclude_with_report(directory, splits_of(directory, data_dir))
                return directory
        with torch_threads(recipe.optimisation.threads):
            _go_on(directory, recipe, more, data_dir or directory.data_dir(), console, report)
    return directory


def _go_on(
    directory: RunDirectory,
    recipe: TrainingRecipe,
    more: int,
    data_dir: Path | None,
    console: Console | None,
    report: bool,
) -> None:
    """From the newest checkpoint to the end; `more` epochs were added to a recipe."""
    checkpoint, memory = _checkpoint(directory, console), MemoryMark.set()
    prepared = prepare(recipe, data_dir)
    check_same_data(directory, prepared.splits)
    if checkpoint is not None:
        check_checkpoint(checkpoint, ClassifierTask(prepared.classifier, recipe.optimisation))
        if checkpoint.name != LAST:  # else the next epoch would put the damaged one in the place of the good one
            (directory.checkpoints / LAST).unlink(missing_ok=True)
    if console is not None and directory.finished and more > 0:
        epochs = recipe.optimisation.epochs
        console.print(f"training on from {epochs - more} to {epochs} epochs", highlight=False)
    with telling_how_to_continue(directory):
        directory.reopen(recipe)
        trained = _train(prepared, directory, console, memory, checkpoint=checkpoint)
    conclude(prepared, directory, trained, report=report)


def _checkpoint(directory: RunDirectory, console: Console | None) -> Path | None:
    """Where a run goes on from; says so where that is not the end of its last epoch."""
    checkpoint, complaints = newest_checkpoint(directory)
    if checkpoint is None and directory.finished:
        raise RunError(
            f"{directory.checkpoints}: there is no checkpoint any more, so the run cannot be trained further"
        )
    if checkpoint is None and directory.history.is_file():
        warnings.warn(
            f"{directory.checkpoints}: there is no checkpoint; the run starts again from the beginning", stacklevel=3
        )
    elif checkpoint is None and console is not None:
        console.print("no epoch was finished yet: the run starts from the beginning", highlight=False)
    for complaint in complaints:
        warnings.warn(f"{complaint}; continuing from {checkpoint}", stacklevel=3)
    return checkpoint


def rewrite_report(path: Path, *, data_dir: Path | None = None) -> Path:
    """Write the report of a finished run anew; returns its path.

    Raises:
        RunError: there is no run, it is not finished, or a file of it is damaged.
        DataError: the data, of which the report shows some images, cannot be read.
    """
    from qdeq_qiskit.training.report import write_report

    directory = RunDirectory.open(path)
    directory.result()
    return write_report(directory, splits_of(directory, data_dir))


def _train(
    prepared: Prepared,
    directory: RunDirectory,
    console: Console | None,
    memory: MemoryMark,
    *,
    checkpoint: Path | None,
) -> Trained:
    """Run Lightning's loop, or what is left of it; the classifier ends with the best epoch's weights."""
    options = prepared.recipe.optimisation
    task, keep = ClassifierTask(prepared.classifier, options), KeepCheckpoints(directory, memory)
    if checkpoint is not None:
        content = read_checkpoint(checkpoint)
        task.on_load_checkpoint(content)
        keep.load_state_dict(content["callbacks"][keep.state_key])
    waited = len(task.history) - keep.best_epoch
    stopped = options.early_stopping_patience is not None and waited >= options.early_stopping_patience
    if len(task.history) < options.epochs and not stopped:
        _run_lightning(prepared, directory, console, task, keep, checkpoint)
    prepared.classifier.load_tensors(keep.best_tensors)
    return Trained(task.history, keep.best_epoch, task.circuits, task.shots, keep.memory)


def _run_lightning(
    prepared: Prepared,
    directory: RunDirectory,
    console: Console | None,
    task: ClassifierTask,
    keep: KeepCheckpoints,
    checkpoint: Path | None,
) -> None:
    options = prepared.recipe.optimisation
    try:
        run_epochs(
            task,
            prepared.batches("train", options.batch_size, seed=prepared.recipe.seed),
            prepared.batches("valid", VALIDATION_BATCH),
            seed=prepared.recipe.seed,
            callbacks=[keep] if console is None else [keep, TrainingProgress(console)],
            checkpoint=checkpoint,
            plugins=[PlainCheckpointIO()],
            logger=EventLog(directory.tensorboard),
            default_root_dir=directory.path,
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if checkpoint is None or keep.begun:
            raise
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RunError(f"{checkpoint}: is not a whole checkpoint of this library: {reason}") from error
