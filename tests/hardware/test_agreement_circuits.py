"""Fixed points from a processor's circuits against the exact ones of its calibration, by their own covariance."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from scipy.stats import chi2, kstest
from torch import Tensor

from qdeq_qiskit.backends import Backend, IBMBackend
from qdeq_qiskit.equilibrium import SampledSolver, Solution
from qdeq_qiskit.hardware.subject import Subject
from qdeq_qiskit.training.fit import fit
from qdeq_qiskit.training.recipe import TrainingRecipe

SAMPLES = 20
MEASURED = SampledSolver(jacobian="measured")


def fixed_points(subject: Subject, backend: Backend, solver: SampledSolver | None = None) -> Solution:
    """Of the same test images on some backend; by its default solver if none is given."""
    classifier = subject.classifier.on_backend(backend).eval()
    if solver is not None:
        classifier.equilibrium.solver = solver
    with torch.no_grad():
        return classifier.classify(classifier.features(torch.as_tensor(subject.test_images(SAMPLES).pixels))).solution


def distances(subject: Subject, name: str, seeds: range, solver: SampledSolver | None = None) -> tuple[Tensor, Tensor]:
    """χ² of every repetition and image, (R, N), and errors in units of their deviations, (R, N, n)."""
    backend = IBMBackend(name=name, shots=256)
    connection = backend.open(4)
    truth = fixed_points(subject, backend.snapshot()).value.double()
    squares, scores = [], []
    for seed in seeds:
        bound = backend.model_copy(update={"seed": seed}).on(connection)
        found = fixed_points(subject, bound, solver)
        assert found.converged.all()
        error, covariance = found.value.double() - truth, found.covariance.double()
        squares.append(torch.einsum("bi,bij,bj->b", error, torch.linalg.inv(covariance), error))
        scores.append(error / covariance.diagonal(dim1=1, dim2=2).sqrt())
    return torch.stack(squares), torch.stack(scores)


@pytest.mark.filterwarnings("error::qdeq_qiskit.equilibrium.NotConvergedWarning")
@pytest.mark.parametrize(("solver", "repetitions"), [(None, 3), (MEASURED, 1)], ids=["default", "measured"])
def test_digits_agree_with_the_calibration(trained: Path, solver: SampledSolver | None, repetitions: int) -> None:
    squares, scores = distances(Subject.open(trained), "fake_manila", range(repetitions), solver)
    assert chi2.sf(float(squares.sum()), scores.numel()) > 1e-3
    assert chi2.cdf(float(squares.sum()), scores.numel()) > 1e-3  # nor are intervals far too wide


@pytest.fixture(scope="module", params=["", "-angle"], ids=["amplitude", "angle"])
def four(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Subject:
    """A model of four digits: of MNIST where `QDEQ_DATA_DIR` has its files, else of scikit-learn's."""
    data = "mnist4" if os.environ.get("QDEQ_DATA_DIR") else "digits4"
    recipe = TrainingRecipe.load(f"{data}{request.param}", "optimisation.epochs=15")
    run = fit(recipe, name="four", out=tmp_path_factory.mktemp("four") / "run", report=False)
    return Subject.open(run.path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fake_torino", "fake_fez", "fake_manila"])
@pytest.mark.parametrize(("solver", "repetitions"), [(None, 16), (MEASURED, 3)], ids=["default", "measured"])
def test_four_digits_agree_with_the_calibration_whatever_the_seed(
    four: Subject, name: str, solver: SampledSolver | None, repetitions: int
) -> None:
    squares, scores = distances(four, name, range(1000, 1000 + repetitions), solver)
    likely = chi2.sf(squares.sum(1).numpy(), scores[0].numel())
    assert likely.min() > 1e-3 / repetitions
    assert chi2.sf(float(squares.sum()), scores.numel()) > 1e-3
    # Rather uniform: a little too often near 1, where the noiseless Jacobian's error is taken to be larger than it is.
    if repetitions > 10:
        assert kstest(likely, "uniform", alternative="greater").pvalue > 1e-3
        bias = scores.mean(0) * repetitions**0.5
        assert 0.5 < float(bias.square().mean()) < 1.5
    assert 0.93 < float((scores.abs() < 1.96).double().mean()) < 0.985
