"""One training run, from a recipe to a run directory with a result."""

from __future__ import annotations

import contextlib
import platform
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import TensorBoardLogger
from rich.console import Console

from qdeq_qiskit import __version__
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.batches import AFTER_TRAINING, Batches, epoch_seed
from qdeq_qiskit.training.checkpoints import (
    KeepCheckpoints,
    PlainCheckpointIO,
    check_checkpoint,
    newest_checkpoint,
    read_checkpoint,
)
from qdeq_qiskit.training.datasets import load_splits
from qdeq_qiskit.training.errors import DataError, RunError, SetupError
from qdeq_qiskit.training.evaluation import Control, evaluate, logistic_regression
from qdeq_qiskit.training.idx import chosen_folder
from qdeq_qiskit.training.images import Images, ImageSplits
from qdeq_qiskit.training.loop import run_epochs, torch_threads
from qdeq_qiskit.training.peak_memory import peak_memory_mb
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
        DataError, RunError: the data or the directory cannot be used.
        ValueError: the parts of the recipe do not fit together.
        TrainingError: training failed.
    """
    with torch_threads(recipe.optimisation.threads):
        prepared = _prepare(recipe, data_dir)
        directory = RunDirectory.claim(out, name=name)
        try:
            directory.begin(recipe, _origin(name, chosen_folder(data_dir), prepared.splits))
            with _telling_how_to_continue(directory):
                trained = _train(prepared, directory, console, checkpoint=None)
        except BaseException:
            if not any(directory.checkpoints.glob("*.ckpt")):
                directory.discard()
            raise
        _conclude(prepared, directory, trained, report=report)
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

    Args:
        path: the run's directory.
        recipe: the run's recipe once more, perhaps with more `optimisation.epochs`; None for the recorded one.
        data_dir: as for `fit`; None for where the run was begun with.
        console: as for `fit`.
        report: as for `fit`.

    Raises:
        RunError: no run there, it is finished, its checkpoints are damaged, of another model or gone, or `recipe` or
            the data are others.
    """
    directory = RunDirectory.open(path)
    recorded = directory.recipe()
    recipe = recipe or recorded
    _check_same(recorded, recipe, path)
    before, epochs = recorded.optimisation.epochs, recipe.optimisation.epochs
    if directory.finished and epochs <= before:
        unreported = "" if directory.report.is_file() else f"; `qdeq report {path}` writes its report, which is missing"
        raise RunError(
            f"{path}: the run is finished{unreported}; to train it further, --set optimisation.epochs to more than "
            f"{before}"
        )
    checkpoint, complaints = newest_checkpoint(directory)
    if checkpoint is None and directory.finished:
        raise RunError(
            f"{directory.checkpoints}: there is no checkpoint any more, so the run cannot be trained further"
        )
    if checkpoint is None and directory.history.is_file():
        warnings.warn(
            f"{directory.checkpoints}: there is no checkpoint; the run starts again from the beginning", stacklevel=2
        )
    for complaint in complaints:
        warnings.warn(f"{complaint}; continuing from {checkpoint}", stacklevel=2)
    with torch_threads(recipe.optimisation.threads):
        prepared = _prepare(recipe, data_dir or directory.data_dir())
        _check_same_data(directory, prepared.splits)
        if checkpoint is not None:
            check_checkpoint(checkpoint, ClassifierTask(prepared.classifier, recipe.optimisation))
        if console is not None and directory.finished:
            console.print(f"training on from {before} to {epochs} epochs", highlight=False)
        directory.reopen(recipe)
        with _telling_how_to_continue(directory):
            trained = _train(prepared, directory, console, checkpoint=checkpoint)
        _conclude(prepared, directory, trained, report=report)
    return directory


def rewrite_report(path: Path, *, data_dir: Path | None = None) -> Path:
    """Write the report of a finished run anew; returns its path.

    Raises:
        RunError: there is no run, it is not finished, or a file of it is damaged.
        DataError: the data, of which the report shows some images, cannot be read.
    """
    from qdeq_qiskit.training.report import write_report

    directory = RunDirectory.open(path)
    directory.result()
    return write_report(directory, load_splits(directory.recipe().data, data_dir=data_dir or directory.data_dir()))


@dataclass(frozen=True)
class Prepared:
    """What a run needs in memory.

    Attributes:
        recipe: what to do.
        splits: the images.
        classifier: the model, with its initial weights.
        features: each split's features, (N, d), by its name.
        labels: each split's labels, (N,).
    """

    recipe: TrainingRecipe
    splits: ImageSplits
    classifier: QDEQClassifier
    features: dict[str, torch.Tensor]
    labels: dict[str, torch.Tensor]

    def batches(self, split: str, size: int, *, seed: int | None = None) -> Batches:
        """A split's batches."""
        return Batches(self.features[split], self.labels[split], batch_size=size, seed=seed)

    def control(self) -> Control:
        """Logistic regression on the same features."""
        train, test = (
            (self.features[split].cpu().numpy(), self.labels[split].cpu().numpy()) for split in ("train", "test")
        )
        return logistic_regression(train, test)


def _prepare(recipe: TrainingRecipe, data_dir: Path | None) -> Prepared:
    splits = load_splits(recipe.data, data_dir=data_dir)
    images: dict[str, Images] = {"train": splits.train, "valid": splits.valid, "test": splits.test}
    with setting_up():
        classifier = QDEQClassifier.from_recipe(recipe.classifier(splits), seed=recipe.seed)
        # Pooled once, up front: a training step sees features only.
        features = {split: classifier.features(torch.from_numpy(part.pixels)) for split, part in images.items()}
    device = classifier.weight.device
    labels = {split: torch.from_numpy(part.labels).to(device) for split, part in images.items()}
    return Prepared(recipe, splits, classifier, features, labels)


@contextlib.contextmanager
def setting_up() -> Iterator[None]:
    """What building a model refuses (a GPU that is not there, Aer missing, sizes that do not fit) is a SetupError."""
    try:
        yield
    except DataError:
        raise
    except (ValueError, ImportError) as error:
        raise SetupError(str(error)) from error


@dataclass(frozen=True)
class _Trained:
    """What training left behind, besides the best weights in the classifier."""

    history: list[dict[str, Any]]
    best_epoch: int
    circuits: int
    shots: int


def _train(
    prepared: Prepared, directory: RunDirectory, console: Console | None, *, checkpoint: Path | None
) -> _Trained:
    """Run Lightning's loop, or what is left of it; the classifier ends with the best epoch's weights."""
    options = prepared.recipe.optimisation
    task, keep = ClassifierTask(prepared.classifier, options), KeepCheckpoints(directory)
    if checkpoint is not None:
        content = read_checkpoint(checkpoint)
        task.on_load_checkpoint(content)
        keep.load_state_dict(content["callbacks"][keep.state_key])
    waited = len(task.history) - keep.best_epoch
    stopped = options.early_stopping_patience is not None and waited >= options.early_stopping_patience
    if len(task.history) < options.epochs and not stopped:
        _run_lightning(prepared, directory, console, task, keep, checkpoint)
    prepared.classifier.load_tensors(keep.best_tensors)
    return _Trained(task.history, keep.best_epoch, task.circuits, task.shots)


def _run_lightning(
    prepared: Prepared,
    directory: RunDirectory,
    console: Console | None,
    task: ClassifierTask,
    keep: KeepCheckpoints,
    checkpoint: Path | None,
) -> None:
    options = prepared.recipe.optimisation
    run_epochs(
        task,
        prepared.batches("train", options.batch_size, seed=prepared.recipe.seed),
        prepared.batches("valid", VALIDATION_BATCH),
        seed=prepared.recipe.seed,
        callbacks=[keep] if console is None else [keep, TrainingProgress(console)],
        checkpoint=checkpoint,
        plugins=[PlainCheckpointIO()],
        logger=TensorBoardLogger(str(directory.tensorboard), name="", version=""),
        default_root_dir=directory.path,
    )


def _conclude(prepared: Prepared, directory: RunDirectory, trained: _Trained, *, report: bool) -> None:
    """Test the best epoch once, write the result, then the report if it is wanted."""
    from qdeq_qiskit.training.report import write_report

    with _telling_how_to_continue(directory):
        _write_result(prepared, directory, trained)
    if not report:
        return
    try:
        write_report(directory, prepared.splits)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; the run is finished, only its report is missing: `qdeq report {directory.path}` writes it"
        ) from None


def _write_result(prepared: Prepared, directory: RunDirectory, trained: _Trained) -> None:
    classifier, history = prepared.classifier, trained.history
    best = history[trained.best_epoch - 1]
    classifier.restart_shots(epoch_seed(prepared.recipe.seed, AFTER_TRAINING))
    valid, test = evaluate(classifier, prepared.splits.valid), evaluate(classifier, prepared.splits.test)
    test.save(directory.test)
    metrics, control = test.metrics(), prepared.control()
    seconds = sum(row["train_seconds"] for row in history)
    steps = history[-1]["step"]
    directory.finish(
        {
            "test_accuracy": test.accuracy,
            "valid_accuracy": valid.accuracy,
            "train_loss": best["train_loss"],
            "train_accuracy": best["train_accuracy"],
            "control_accuracy": control.accuracy,
            "steps": steps,
            "epochs": len(history),
            "best_epoch": trained.best_epoch,
            "seconds": sum(row["seconds"] for row in history),
            "train_seconds": seconds,
            "ms_per_step": 1000 * seconds / steps,
            "median_residual": metrics["median_residual"],
            "converged_fraction": metrics["converged_fraction"],
            "mean_iterations": metrics["mean_iterations"],
            "circuits": trained.circuits + valid.circuits + test.circuits,
            "shots": trained.shots + valid.shots + test.shots,
            "seed": prepared.recipe.seed,
            "test": metrics,
            "control": {"name": "logistic regression", "accuracy": control.accuracy, "parameters": control.parameters},
            "parameters": {
                "circuit": classifier.weight.numel(),
                "head": classifier.head.weight.numel() + classifier.head.bias.numel(),
            },
            "samples": {split: len(labels) for split, labels in prepared.labels.items()},
            "backend": classifier.backend.describe(),
            "peak_memory_mb": peak_memory_mb(),
        }
    )


def _check_same(recorded: TrainingRecipe, given: TrainingRecipe, path: Path) -> None:
    """A run goes on as it began, but for the number of epochs."""

    def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
        if not isinstance(tree, dict):
            return {prefix: tree}
        parts = [flat(value, f"{prefix}.{key}" if prefix else key) for key, value in tree.items()]
        return {key: value for part in parts for key, value in part.items()}

    before, now = flat(recorded.model_dump()), flat(given.model_dump())
    for key in before | now:
        if before.get(key) != now.get(key) and key not in ("description", "optimisation.epochs"):
            raise RunError(
                f"{path}: the run was begun with {key} = {before.get(key)!r}, not {now.get(key)!r}; only "
                "optimisation.epochs may change when a run is continued"
            )


def _check_same_data(directory: RunDirectory, splits: ImageSplits) -> None:
    """A run goes on with the images that it was begun with, to the last bit."""
    recorded = directory.origin().get("data")
    if recorded is None:  # a run of an earlier version
        return
    differing = [split for split, digest in splits.fingerprint().items() if recorded.get(split) != digest]
    if differing:
        raise RunError(
            f"{directory.path}: the run was begun with other data: the images or labels of {', '.join(differing)} "
            f"differ from the SHA-256 in run.json; continue it with the {splits.name} files that it was begun with"
        )


def _origin(name: str, data_dir: Path | None, splits: ImageSplits) -> dict[str, Any]:
    packages = ("torch", "qiskit", "qiskit-machine-learning", "lightning", "numpy")
    return {
        "name": name,
        "data_dir": str(data_dir.resolve()) if data_dir is not None else None,
        "data": splits.fingerprint(),
        "begun": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "versions": {
            "qdeq_qiskit": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
    }


@contextlib.contextmanager
def _telling_how_to_continue(directory: RunDirectory) -> Iterator[None]:
    """An interrupt says what was kept and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        kept = any(directory.checkpoints.glob("*.ckpt"))
        after = f"; `qdeq fit --resume {directory.path}` continues the run" if kept else " before the first epoch ended"
        raise KeyboardInterrupt(f"interrupted{after}") from None
