"""What training the 10-qubit model adds to a process that has imported all it needs.

A process of its own, because a process's peak memory never falls: `python -m benchmarks.training_memory step` prints
the megabytes that a few bare steps add, `python -m benchmarks.training_memory fit` those of a short run.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .memory import peak_megabytes, resident_megabytes
from .row import Row

MOST_MEGABYTES = 600
STEPS, EPOCHS = 5, 2


def rows(*, quick: bool) -> Iterator[Row]:
    """Peaks over what the imports hold."""
    yield Row(
        "ten-qubits-memory-step",
        f"10 qubits, batch 256: memory that {STEPS} training steps add to a process that has imported all it needs",
        in_own_process("step"),
        "MB",
        MOST_MEGABYTES,
        note="the model's making included; random features",
    )
    what = f"the same of qdeq fit mnist10, {EPOCHS} epochs, data and test included"
    if not os.environ.get("QDEQ_DATA_DIR"):
        yield Row("ten-qubits-memory-fit", what, None, "MB", MOST_MEGABYTES, note="set QDEQ_DATA_DIR")
        return
    yield Row("ten-qubits-memory-fit", what, in_own_process("fit"), "MB", MOST_MEGABYTES, note="without the report")


def in_own_process(what: str) -> float:
    """Megabytes that `added` finds in a fresh process."""
    command = [sys.executable, "-m", "benchmarks.training_memory", what]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def added(what: str) -> float:
    """Megabytes by which the peak exceeds what the process held once everything was imported.

    Args:
        what: "step" or "fit".
    """
    import qdeq_qiskit.models
    import qdeq_qiskit.training.fit  # noqa: F401  # so that it is there before memory is looked at
    from qdeq_qiskit.training.peak_memory import IMPORTED_LATE

    for name in IMPORTED_LATE:
        importlib.import_module(name)
    before = resident_megabytes()
    _WORK[what]()
    return peak_megabytes() - before


def _steps() -> None:
    import torch

    from qdeq_qiskit.models import QDEQClassifier
    from qdeq_qiskit.training.clipping import clip_gradients
    from qdeq_qiskit.training.recipe import TrainingRecipe
    from qdeq_qiskit.training.task import ClassifierTask

    recipe = TrainingRecipe.load("mnist10")
    classifier = QDEQClassifier(
        recipe.circuit.build(), backend=recipe.backend, num_classes=10, model=recipe.model, seed=0
    )
    optimiser = ClassifierTask(classifier.train(), recipe.optimisation).configure_optimizers()
    for _ in range(STEPS):
        output = classifier.classify(torch.randn(256, 100))
        loss = torch.nn.functional.cross_entropy(output.logits, torch.randint(10, (256,)))
        assert output.solution.penalty is not None
        (loss + classifier.penalty_weight * output.solution.penalty).backward()
        clip_gradients(optimiser.param_groups[0]["params"], 0.25)
        optimiser.step()


def _short_fit() -> None:
    from qdeq_qiskit.training.fit import fit
    from qdeq_qiskit.training.recipe import TrainingRecipe

    recipe = TrainingRecipe.load("mnist10", [f"optimisation.epochs={EPOCHS}"])
    with tempfile.TemporaryDirectory() as folder:
        fit(recipe, out=Path(folder) / "run", report=False)


_WORK: dict[str, Callable[[], None]] = {"step": _steps, "fit": _short_fit}

if __name__ == "__main__":
    print(added(sys.argv[1]))
