"""What the shipped recipes reach when they are trained in full; minutes long."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def results(recipe, seeds, folder):
    """result.json of a full run of the command for each seed."""
    found = []
    for seed in seeds:
        out = folder / f"{recipe}-{seed}"
        command = [sys.executable, "-m", "qdeq_qiskit.cli", "fit", recipe, "--seed", str(seed), "--out", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        assert (out / "report.html").stat().st_size > 100_000
        found.append(json.loads((out / "result.json").read_text()))
    return found


def test_the_demo_recognises_digits_with_every_seed(tmp_path):
    runs = results("digits", range(5), tmp_path)
    accuracies = [run["test_accuracy"] for run in runs]
    assert statistics.median(accuracies) >= 0.95
    assert min(accuracies) >= 0.93
    assert all(run["converged_fraction"] == 1.0 for run in runs)


def test_mnist4_reaches_the_papers_accuracy_and_finds_its_equilibria(tmp_path):
    data = os.environ.get("QDEQ_DATA_DIR")
    if data is None or not (Path(data) / "mnist").is_dir():
        pytest.skip("needs the real MNIST files: set QDEQ_DATA_DIR to a folder that holds mnist/")
    runs = results("mnist4", range(3), tmp_path)
    assert statistics.median(run["test_accuracy"] for run in runs) >= 0.93
    assert min(run["converged_fraction"] for run in runs) >= 0.999
