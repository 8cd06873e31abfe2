"""scikit-learn's own checks of estimators, each one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import parametrize_with_checks

from qdeq_qiskit.sklearn import EquilibriumClassifier

# Small circuits and few epochs: the checks fit some two hundred times, on tables of a few dozen rows mostly.
QUICK = {"epochs": 4, "batch_size": 64, "learning_rate": 0.1, "ansatz": "real_amplitudes"}

EXPECTED: dict[str, str] = {}


@parametrize_with_checks(
    [EquilibriumClassifier(**QUICK), EquilibriumClassifier(**QUICK, encoder="angle", mode="direct", layers=2)],
    expected_failed_checks=lambda estimator: EXPECTED,
    xfail_strict=True,
)
def test_scikit_learns_check(estimator: BaseEstimator, check: Callable[[Any], None]) -> None:
    check(estimator)
