"""The end of a run: its best epoch is tested once, then come the result and the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.models.storage import ModelFileError, save_classifier
from qdeq_qiskit.training.batches import AFTER_TRAINING, epoch_seed
from qdeq_qiskit.training.checkpoints import write_history
from qdeq_qiskit.training.continuation import telling_how_to_continue
from qdeq_qiskit.training.data.images import ImageSplits
from qdeq_qiskit.training.errors import RunError
from qdeq_qiskit.training.evaluation import Evaluation, evaluate
from qdeq_qiskit.training.peak_memory import MemoryMark, gpu_memory, peak_memory_mb
from qdeq_qiskit.training.preparation import Prepared
from qdeq_qiskit.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Trained:
    """What training left behind, besides the best weights in the classifier.

    Attributes:
        history: a row of figures for each epoch.
        best_epoch: the number of the one with the least validation loss, from 1.
        circuits, shots: what was spent.
        memory: where the run's memory began.
    """

    history: list[dict[str, Any]]
    best_epoch: int
    circuits: int
    shots: int
    memory: MemoryMark


def conclude(prepared: Prepared, directory: RunDirectory, trained: Trained, *, report: bool) -> None:
    """Test the best epoch once, write the result, then the report if it is wanted."""
    with telling_how_to_continue(directory):
        _write_result(prepared, directory, trained)
    if report:
        conclude_with_report(directory, prepared.splits)


def conclude_with_report(directory: RunDirectory, splits: ImageSplits) -> None:
    """Write the report, the last thing that a run needs."""
    from qdeq_qiskit.training.report import write_report

    missing = f"the run is finished, only its report is missing: `qdeq report {directory.path}` writes it"
    try:
        write_report(directory, splits)
    except KeyboardInterrupt as interrupt:
        raise type(interrupt)(f"interrupted; {missing}") from None
    except OSError as error:
        raise RunError(f"{error}; {missing}") from None


def damages(directory: RunDirectory, *, report: bool) -> list[str]:
    """What is missing or damaged of a finished run's files, a sentence each.

    Args:
        directory: the run.
        report: whether it should have a report.
    """
    found = []
    readers = (
        directory.result,
        directory.epochs,
        lambda: Evaluation.load(directory.test),
        lambda: QDEQClassifier.load(directory.model),
    )
    for read in readers:
        try:
            read()
        except (RunError, ModelFileError, ValueError) as error:
            found.append(str(error))
    if report and not directory.report.is_file():
        found.append(f"{directory.report}: is missing")
    return list(dict.fromkeys(found))


def _write_result(prepared: Prepared, directory: RunDirectory, trained: Trained) -> None:
    classifier, history = prepared.classifier, trained.history
    best = history[trained.best_epoch - 1]
    classifier.restart_shots(epoch_seed(prepared.recipe.seed, AFTER_TRAINING))
    valid, test = evaluate(classifier, prepared.splits.valid), evaluate(classifier, prepared.splits.test)
    # The best model and the history once more: whoever resumes a run may have lost or damaged them.
    save_classifier(classifier, directory.model)
    write_history(directory, history)
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
            "processes": prepared.recipe.optimisation.processes,
            "test": metrics,
            "control": {"name": "logistic regression", "accuracy": control.accuracy, "parameters": control.parameters},
            "parameters": {
                "circuit": classifier.weight.numel(),
                "head": classifier.head.weight.numel() + classifier.head.bias.numel(),
            },
            "samples": {split: len(labels) for split, labels in prepared.labels.items()},
            "backend": classifier.describe(),
            "peak_memory_mb": peak_memory_mb(),
            **gpu_memory(classifier.weight.device),
            "cpu_seconds": _cpu_seconds(history),
            "added_memory_mb": trained.memory.added_mb(),
        }
    )


def _cpu_seconds(history: list[dict[str, Any]]) -> float | None:
    """CPU time of all epochs; None where some were trained by a version that did not measure it."""
    measured = [row.get("cpu_seconds") for row in history]
    return None if None in measured else float(sum(value for value in measured if value is not None))
