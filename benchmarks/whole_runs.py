"""Whole training runs by the `qdeq` command, as a user starts them, over several seeds."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .row import Row


def rows(*, quick: bool) -> Iterator[Row]:
    """Accuracy and time of `make demo`'s recipe, and of `mnist4` and `mnist10` where MNIST is at hand."""
    demo = [run("digits", seed) for seed in range(1 if quick else 5)]
    yield from _accuracy("demo", "qdeq fit digits", demo, median=0.95, least=0.93)
    yield _seconds("demo-seconds", "qdeq fit digits, from the command to the report", demo, target=60)
    if not os.environ.get("QDEQ_DATA_DIR"):
        yield Row("mnist4-accuracy", "test accuracy of qdeq fit mnist4", None, "", 0.93, note="set QDEQ_DATA_DIR")
        yield Row("mnist10-minutes", "qdeq fit mnist10, 100 epochs", None, "min", 8, note="set QDEQ_DATA_DIR")
        return
    mnist = [run("mnist4", seed) for seed in range(1 if quick else 3)]
    yield from _accuracy("mnist4", "qdeq fit mnist4", mnist, median=0.93)
    yield Row(
        "mnist4-converged",
        "qdeq fit mnist4: fraction of test images whose equilibrium was found",
        min(result["converged_fraction"] for result in mnist),
        "",
        target=0.999,
        better="higher",
        note="relative residual 1e-4, the worst of the seeds",
    )
    yield _seconds("mnist4-seconds", "qdeq fit mnist4, from the command to the report", mnist, target=45, peer=792)
    yield Row(
        "mnist4-ms-per-step",
        "qdeq fit mnist4: a step with loop, loading and logging",
        statistics.median(result["ms_per_step"] for result in mnist),
        "ms",
        note="as in result.json; `mnist4-torch` is the step alone",
    )
    yield from _ten_qubits(quick=quick)


def _ten_qubits(*, quick: bool) -> Iterator[Row]:
    """One run of `mnist10`; of two epochs if quick."""
    epochs = 2 if quick else 100
    result = run("mnist10", 0, "--set", f"optimisation.epochs={epochs}")
    yield Row(
        "mnist10-minutes",
        f"qdeq fit mnist10, {epochs} epochs, from the command to the report",
        result["wall_seconds"] / 60,
        "min",
        target=None if quick else 8,
        note="one seed",
        details={"result": result},
    )
    yield Row(
        "mnist10-cpu-minutes",
        "the same: CPU time of its epochs, validation included",
        result["cpu_seconds"] / 60,
        "min",
        note="as in result.json; other programs lengthen it less",
    )
    yield Row(
        "mnist10-memory",
        "the same: the most memory over what the imports hold",
        result["added_memory_mb"],
        "MB",
        target=600,
        note="as in result.json, without the report; on Linux alone",
    )
    if not quick:
        yield from _accuracy("mnist10", "qdeq fit mnist10", [result])


def run(recipe: str, seed: int, *options: str) -> dict[str, Any]:
    """`result.json` of one run in a process of its own, and its `wall_seconds`.

    Args:
        recipe: a training recipe.
        seed: of the run.
        options: further ones of the command.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "qdeq_qiskit.cli", "fit", recipe, "--seed", str(seed), "--out", str(out)]
        command += options
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
        return {**json.loads((out / "result.json").read_text(encoding="utf-8")), "wall_seconds": seconds}


def _accuracy(
    name: str, command: str, results: list[dict[str, Any]], *, median: float | None = None, least: float | None = None
) -> Iterator[Row]:
    accuracies = [result["test_accuracy"] for result in results]
    control = results[0]["control_accuracy"]
    seeds = "1 seed" if len(results) == 1 else f"seeds 0 to {len(results) - 1}"
    yield Row(
        f"{name}-accuracy",
        f"{command}: test accuracy, median of {seeds}",
        statistics.median(accuracies),
        "",
        target=median,
        better="higher",
        note=f"{min(accuracies):.3f} to {max(accuracies):.3f}; logistic regression on the same pixels {control:.3f}",
        details={"accuracies": accuracies, "logistic_regression": control},
    )
    if least is not None:
        yield Row(f"{name}-worst", f"{command}: the worst of {seeds}", min(accuracies), "", least, "higher")


def _seconds(name: str, what: str, results: list[dict[str, Any]], *, target: float, peer: float | None = None) -> Row:
    seconds = [result["wall_seconds"] for result in results]
    return Row(
        name,
        what,
        statistics.median(seconds),
        "s",
        target,
        peer=peer,
        peer_name="the paper's code on one core (not run here)" if peer else "",
        note=f"from {min(seconds):.1f} to {max(seconds):.1f} s",
        details={"seconds": seconds},
    )
