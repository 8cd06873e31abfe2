"""What workers do: train and measure one run, compile one circuit. Each does nothing if its result is there."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.equilibrium import NotConvergedWarning
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.noise import fake_backends
from qdeq_qiskit.reproduction.directory import ReproductionDirectory
from qdeq_qiskit.reproduction.rows import Row
from qdeq_qiskit.studies.circuit_cost import cost_of
from qdeq_qiskit.training import Evaluation, Images, RunDirectory, RunError, load_splits
from qdeq_qiskit.training.errors import RunIsLockedError
from qdeq_qiskit.training.fit import fit, resume

SECONDS_FOR_A_LOCK = 20.0
CHUNK = 1024


def train_and_measure(row: Row, seed: int, directory: ReproductionDirectory, data_dir: Path | None) -> None:
    """Train a row with a seed, from where an earlier attempt was interrupted if there was one; then measure it."""
    if not directory.runs.is_dir():
        raise RunError(f"{directory.runs}: this worker does not see it; every worker needs the reproduction's folder")
    path = directory.run(row.name, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)  # counted, in the result
        if not is_trained(path):
            started = time.perf_counter()
            when_free(lambda: _train(row, seed, path, data_dir))
            directory.books.log(f"train-{path.name}", time.perf_counter() - started)
        if directory.measures(path.name) is None:
            started = time.perf_counter()
            directory.write_measures(path.name, measure(RunDirectory.open(path), data_dir))
            directory.books.log(f"measure-{path.name}", time.perf_counter() - started)


def is_trained(path: Path) -> bool:
    """Whether a run is finished."""
    return (path / "recipe.yaml").is_file() and RunDirectory(path).finished


def when_free(work: Callable[[], None], *, seconds: float = SECONDS_FOR_A_LOCK) -> None:
    """Do something in a run directory as soon as no other process is training there.

    A worker whose scheduler was killed takes a while to notice, and holds its run's lock until then.

    Raises:
        RunIsLockedError: somebody is still training there after so many seconds.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except RunIsLockedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)


def _train(row: Row, seed: int, path: Path, data_dir: Path | None) -> None:
    """There is no report of it; `qdeq report` writes one."""
    if is_trained(path):  # by the process that held the lock
        return
    if (path / "recipe.yaml").is_file():
        resume(path, data_dir=data_dir, report=False)
    else:
        fit(row.seeded(seed), name=row.name, out=path, data_dir=data_dir, report=False)


def measure(run: RunDirectory, data_dir: Path | None) -> dict[str, Any]:
    """What a table says of a run that its result does not.

    Returns:
        `residual`: the median over the test images of ‖f(w) − w‖ / ‖f(w)‖ at the state that the answer was read from.
        For an equilibrium it is that of the result. For a model with layers it is how far its last layer is from a
        fixed point. A coherent model with several layers has one state alone, to which nothing is applied: null.
    """
    recipe, known = run.recipe(), run.result()["test"]["median_residual"]
    if recipe.model.mode == "implicit":
        return {"residual": known}
    if recipe.model.mode == "coherent" and recipe.model.layers > 1:
        return {"residual": None}
    images = load_splits(recipe.data, data_dir=data_dir or run.data_dir()).test
    state = Evaluation.load(run.test).state
    if len(state) != len(images):
        raise RunError(f"{run.test}: has {len(state)} test images, but there are {len(images)} now")
    return {"residual": last_residual(QDEQClassifier.load(run.model), images, state)}


def last_residual(classifier: QDEQClassifier, images: Images, state: np.ndarray) -> float:
    """The median of ‖f(w) − w‖ / ‖f(w)‖ over images.

    Args:
        classifier: left in evaluation mode.
        images: N images.
        state: w of each, (N, n).
    """
    classifier.eval()
    found = []
    with torch.no_grad():
        features = classifier.features(torch.from_numpy(images.pixels))
        states = torch.as_tensor(state).to(features)
        for part, w in zip(features.split(CHUNK), states.split(CHUNK), strict=True):
            value = classifier.equilibrium.map(part).frozen().value(w)
            found.append(((value - w).norm(dim=1) / value.norm(dim=1)).double().cpu())
    return float(np.median(torch.cat(found).numpy()))


def count_circuit(row: Row, directory: ReproductionDirectory) -> None:
    """Compile a row's circuit for the processor, and write down what it takes."""
    key = row.circuit_key
    assert key is not None
    if directory.circuit(key) is not None:
        return
    started = time.perf_counter()
    target = fake_backends()[row.depth_target]().target
    cost = cost_of(compile_circuit(row.circuit(), optimization_level=3, seed=0, target=target))
    figures = {"depth": cost.depth, "two_qubit_depth": cost.two_qubit_depth, "two_qubit_gates": cost.two_qubit_gates}
    directory.write_circuit(key, {**figures, "target": row.depth_target, "example": row.name})
    directory.books.log(f"circuit-{key}", time.perf_counter() - started)
