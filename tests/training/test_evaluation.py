"""Figures of an evaluation."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qdeq_qiskit.training import RunError, logistic_regression
from qdeq_qiskit.training.evaluation import Evaluation, wilson_interval


def evaluation(labels: list[int], probabilities: list[list[float]]) -> Evaluation:
    count = len(labels)
    return Evaluation(
        labels=np.array(labels),
        probabilities=np.array(probabilities),
        state=np.zeros((count, 2)),
        residual=np.full(count, 1e-6),
        iterations=np.arange(count),
        evaluations=np.arange(count) + 1,
        converged=np.array([True] * (count - 1) + [False]),
        radius=np.zeros(0),
        trace=np.zeros((0, 0)),
        circuits=7,
        shots=0,
        seconds=0.5,
    )


def test_metrics_agree_with_counting_by_hand() -> None:
    metrics = evaluation([0, 0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]]).metrics()
    assert metrics["accuracy"] == 0.75
    assert metrics["log_loss"] == pytest.approx(-np.log([0.9, 0.2, 0.7, 0.6]).mean())
    # class 0: precision 1, recall 1/2; class 1: precision 2/3, recall 1
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
    assert metrics["converged_fraction"] == 0.75
    assert metrics["mean_iterations"] == 1.5
    assert metrics["spectral_radius_median"] is None


def test_an_evaluation_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    first = evaluation([0, 1], [[0.9, 0.1], [0.2, 0.8]])
    first.save(tmp_path / "e.safetensors")
    second = Evaluation.load(tmp_path / "e.safetensors")
    for name, value in vars(first).items():
        np.testing.assert_array_equal(getattr(second, name), value)


def test_figures_of_uncertainty_leave_out_samples_without_an_estimate(tmp_path: Path) -> None:
    first = replace(
        evaluation([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]),
        half_width=np.array([0.1, 0.3, np.nan]),
        confidence=np.array([0.9, 0.7, np.nan]),
        radius=np.array([0.5, np.nan, 0.7]),
    )
    metrics = first.metrics()
    assert metrics["median_half_width"] == pytest.approx(0.2)
    assert metrics["median_confidence"] == pytest.approx(0.8)
    assert metrics["spectral_radius_median"] == pytest.approx(0.6)
    assert evaluation([0], [[1.0, 0.0]]).metrics()["median_half_width"] is None
    first.save(tmp_path / "e.safetensors")
    np.testing.assert_array_equal(Evaluation.load(tmp_path / "e.safetensors").half_width, first.half_width)


def test_figures_can_be_written_where_most_samples_were_never_looked_at() -> None:
    unseen = replace(evaluation([0, 1, 1], [[0.9, 0.1]] * 3), residual=np.array([0.2, np.inf, np.inf]))
    assert unseen.metrics()["median_residual"] == pytest.approx(0.2)
    assert json.loads(json.dumps(unseen.metrics(), allow_nan=False)) == unseen.metrics()
    none = replace(unseen, residual=np.full(3, np.inf))
    assert none.metrics()["median_residual"] is None


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x80\x04N."])
def test_a_damaged_evaluation_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "e.safetensors"
    path.write_bytes(content)
    with pytest.raises(RunError, match=r"e\.safetensors: is not a whole safetensors file"):
        Evaluation.load(path)


def test_wilsons_interval_agrees_with_a_published_example() -> None:
    # 81 of 263: (0.2553, 0.3662), R. G. Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3.
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_the_control_learns_what_is_linear() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 4))
    labels = (features[:, 0] > 0).astype(int)
    control = logistic_regression((features[:200], labels[:200]), (features[200:], labels[200:]))
    assert control.accuracy > 0.95
    assert control.parameters == 5
    assert control.accuracy == (control.predicted == labels[200:]).mean()
