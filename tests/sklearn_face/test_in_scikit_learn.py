"""The estimator inside scikit-learn's own tools."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from qdeq_qiskit.backends import ExactBackend
from qdeq_qiskit.sklearn import EquilibriumClassifier

Table = tuple[np.ndarray, np.ndarray]


def test_a_pipeline_is_its_steps_one_after_another(flowers: Table, quick: dict[str, Any]) -> None:
    X, y = flowers
    pipeline = make_pipeline(StandardScaler(), PCA(2), EquilibriumClassifier(**quick)).fit(5 + 3 * X, y)
    by_hand = PCA(2).fit_transform(StandardScaler().fit_transform(5 + 3 * X))
    alone = EquilibriumClassifier(**quick).fit(by_hand, y)
    np.testing.assert_allclose(pipeline.predict_proba(5 + 3 * X), alone.predict_proba(by_hand), atol=1e-9)


def test_cross_validation_is_a_fit_and_a_score_for_each_fold(flowers: Table, quick: dict[str, Any]) -> None:
    X, y = flowers
    folds = StratifiedKFold(3)
    scores = cross_val_score(EquilibriumClassifier(**quick), X, y, cv=folds)
    by_hand = [
        EquilibriumClassifier(**quick).fit(X[train], y[train]).score(X[test], y[test])
        for train, test in folds.split(X, y)
    ]
    assert scores.tolist() == by_hand


@pytest.mark.parametrize("workers", ["loky", "threading"])
def test_a_grid_search_in_two_workers_finds_what_one_finds(flowers: Table, quick: dict[str, Any], workers: str) -> None:
    grid = {
        "equilibriumclassifier__learning_rate": [0.001, 0.1],
        "equilibriumclassifier__backend": [ExactBackend(precision="single")],
    }
    pipeline = make_pipeline(StandardScaler(), EquilibriumClassifier(**quick))
    alone = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(*flowers)
    with joblib.parallel_config(backend=workers, n_jobs=2):
        together = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(*flowers)
    np.testing.assert_array_equal(together.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"])
    assert together.best_params_ == alone.best_params_
    np.testing.assert_array_equal(together.predict_proba(flowers[0]), alone.predict_proba(flowers[0]))


def test_a_clone_has_the_arguments_and_nothing_learned(fitted: EquilibriumClassifier) -> None:
    for arguments in (
        fitted.get_params(),
        {"encoder": {"kind": "angle", "preset": "ryzxy"}, "solver": {"kind": "anderson"}, "backend": ExactBackend()},
    ):
        copied = clone(EquilibriumClassifier(**arguments))
        assert {name: copied.get_params()[name] for name in arguments} == arguments
        assert not hasattr(copied, "model_")


def test_a_pickled_estimator_predicts_the_same_in_another_process(
    fitted: EquilibriumClassifier, flowers: Table, tmp_path: Path
) -> None:
    X = flowers[0][::5]
    estimators = [fitted, fitted.on_backend("shots"), fitted.on_backend("noisy")]
    (tmp_path / "estimators.pickle").write_bytes(pickle.dumps(estimators))
    np.save(tmp_path / "X.npy", X)
    code = (
        "import pickle, sys, pathlib, numpy as np; folder = pathlib.Path(sys.argv[1]);"
        "estimators = pickle.loads((folder / 'estimators.pickle').read_bytes());"
        "X = np.load(folder / 'X.npy');"
        "np.save(folder / 'p.npy', [estimator.predict_proba(X) for estimator in estimators])"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    here = [estimator.predict_proba(X) for estimator in estimators]
    np.testing.assert_array_equal(np.load(tmp_path / "p.npy"), here)


def test_importing_the_face_loads_nothing_and_making_an_estimator_no_lightning() -> None:
    code = (
        "import sys, qdeq_qiskit.sklearn; early = {'torch', 'sklearn', 'qiskit'} & set(sys.modules);"
        "qdeq_qiskit.sklearn.EquilibriumClassifier();"
        "print(*early, *({'lightning', 'qiskit_aer', 'qiskit_ibm_runtime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
