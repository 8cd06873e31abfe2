"""A small table, and an estimator that fits it within a second."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.preprocessing import StandardScaler

from qdeq_qiskit.sklearn import EquilibriumClassifier

Table = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="session")
def flowers() -> Table:
    """Every third iris, standardised, with the species' names for labels: (50, 4), (50,)."""
    bundle = load_iris()
    rows = slice(None, None, 3)
    return StandardScaler().fit_transform(bundle.data)[rows], bundle.target_names[bundle.target][rows]


@pytest.fixture
def quick() -> dict[str, Any]:
    """Arguments of a fit of a fraction of a second."""
    return {"epochs": 3, "batch_size": 25, "learning_rate": 0.1, "random_state": 0}


@pytest.fixture(scope="session")
def fitted(flowers: Table) -> EquilibriumClassifier:
    """A fitted estimator, not to be changed."""
    return EquilibriumClassifier(epochs=20, batch_size=25, learning_rate=0.1, random_state=0).fit(*flowers)
