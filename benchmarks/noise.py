"""Noise: whole test sets beside Aer per circuit, a processor's snapshot, noise-aware training, the shipped sweep."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from qdeq_qiskit.backends import NoisyBackend, SnapshotBackend
from qdeq_qiskit.equilibrium import Anderson
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.noise import NoiseRecipe
from qdeq_qiskit.training.data.datasets import load_splits
from qdeq_qiskit.training.data.images import Images
from qdeq_qiskit.training.evaluation import evaluate
from qdeq_qiskit.training.fit import fit
from qdeq_qiskit.training.recipe import TrainingRecipe

from .row import Row, timed_row
from .timing import interleaved
from .training_step import training_step

EPOCHS = 10
AER = "Aer's density matrix, circuit by circuit, on {} of the images"


def rows(*, quick: bool) -> Iterator[Row]:
    """Test sets, training steps, and the shipped study."""
    if os.environ.get("QDEQ_DATA_DIR"):
        for recipe, least in (("mnist4-angle", 100), ("mnist4", 50)):
            yield from _test_set(recipe, least, quick=quick)
    else:
        yield Row("noisy-test-set", "MNIST-4 test set with noise", None, "s", 5, note="set QDEQ_DATA_DIR")
    yield from _steps(quick=quick)
    if not quick:
        yield _study()


def _test_set(recipe_name: str, least: float, *, quick: bool) -> Iterator[Row]:
    """The whole MNIST-4 test set with depolarising noise, and with that of a processor."""
    classifier, test = _trained(recipe_name)
    images = test.sample(256, seed=0) if quick else test
    noise = NoiseRecipe.load("depolarizing")
    ours = evaluate(classifier.on_backend(NoisyBackend(noise=noise)), images)
    peer_images = test.sample(4 if quick else 8, seed=0)
    peer_seconds = _on_aer(classifier, noise, peer_images) / len(peer_images.labels) * len(images.labels)
    what = f"{recipe_name}: {len(images.labels):,} test images to 1e-4, depolarising 0.1% and 1%, exact expectation"
    details = {"converged": float(ours.converged.mean()), "accuracy": ours.accuracy}
    yield Row(
        f"noisy-{recipe_name}",
        what,
        ours.seconds,
        "s",
        5,
        note=f"{ours.converged.mean():.2%} converged",
        details=details,
    )
    yield Row(
        f"noisy-{recipe_name}-ratio",
        f"{recipe_name}: the same, times faster than Aer per circuit",
        peer_seconds / ours.seconds,
        "×",
        least,
        "higher",
        peer_name=AER.format(len(peer_images.labels)),
        note="both with the equilibrium to 1e-4; Aer with Anderson's solver, which needs no Jacobian",
        details={"peer_seconds": peer_seconds},
    )
    if recipe_name == "mnist4":
        start = time.perf_counter()
        there = evaluate(classifier.on_backend(SnapshotBackend(name="fake_torino")), images)
        seconds = time.perf_counter() - start
        yield Row(
            "noisy-torino",
            f"{recipe_name}: {len(images.labels):,} test images on a snapshot of FakeTorino, compilation included",
            seconds,
            "s",
            90,
            note=f"{there.converged.mean():.2%} converged",
            details={"converged": float(there.converged.mean()), "accuracy": there.accuracy},
        )


def _trained(recipe_name: str) -> tuple[QDEQClassifier, Images]:
    """A model trained for a few epochs, and the test images."""
    recipe = TrainingRecipe.load(recipe_name, [f"optimisation.epochs={EPOCHS}"])
    with tempfile.TemporaryDirectory() as folder:
        directory = fit(recipe, out=Path(folder) / "run")
        return QDEQClassifier.load(directory.model), load_splits(recipe.data).test


def _on_aer(classifier: QDEQClassifier, noise: NoiseRecipe, images: Images) -> float:
    """Seconds of the same equilibria, every circuit run by Aer; the results are asserted to agree first."""
    features = classifier.features(torch.from_numpy(images.pixels))
    effective = classifier.on_backend(NoisyBackend(noise=noise, precision="double")).equilibrium
    reference = classifier.on_backend(NoisyBackend(noise=noise, precision="double", method="aer")).equilibrium
    with torch.no_grad():
        for equilibrium in (effective, reference):
            equilibrium.double()
            equilibrium.solver = Anderson(tolerance=1e-4)
        values = [equilibrium.layer(features.double()) for equilibrium in (effective, reference)]
        torch.testing.assert_close(values[1], values[0], rtol=0, atol=1e-10)
        start = time.perf_counter()
        reference(features.double())
    return time.perf_counter() - start


def _steps(*, quick: bool) -> Iterator[Row]:
    """Training steps with noise in every gate, the encoder's too, turn by turn with those without."""
    noisy = NoisyBackend(noise=NoiseRecipe.load("depolarizing"))
    cases = {
        "mnist4-angle": training_step("mnist4-angle", engine="torch"),
        "mnist4-angle-noisy": training_step("mnist4-angle", backend=noisy),
        "mnist4-noisy": training_step("mnist4", backend=noisy),
    }
    repetitions = {"mnist4-angle": 100, "mnist4-angle-noisy": 60, "mnist4-noisy": 60}
    if quick:
        repetitions = {name: count // 10 for name, count in repetitions.items()}
    torch.manual_seed(0)
    timings = interleaved(cases, repetitions=repetitions, warmup=5)
    yield Row(
        "noisy-step-angle",
        "one noise-aware training step of mnist4-angle, times the noiseless step",
        timings["mnist4-angle-noisy"].median / timings["mnist4-angle"].median,
        "×",
        5,
        note="medians, turn by turn",
        details={name: timing.summary() for name, timing in timings.items()},
    )
    yield timed_row(
        "noisy-step-amplitude",
        "one noise-aware training step of mnist4, noise in the encoder too",
        timings["mnist4-noisy"],
        target=40,
    )


def _study() -> Row:
    """The shipped sweep, as a user starts it, on every core."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "qdeq_qiskit.cli", "study", "depolarizing-sweep", "--out", f"{folder}/study"]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
    return Row(
        "depolarizing-sweep",
        f"qdeq study depolarizing-sweep, training included, {os.cpu_count()} cores",
        seconds / 60,
        "min",
        5,
    )
