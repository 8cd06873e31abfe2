"""The scikit-learn face: a QDEQ as an estimator for tables of features, with `fit`, `predict` and `predict_proba`.

Names are imported on first use, so that nothing is loaded that is not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeq_qiskit.first_use import on_first_use

if TYPE_CHECKING:
    from qdeq_qiskit.sklearn.classifier import EquilibriumClassifier

__all__ = ["EquilibriumClassifier"]

__getattr__, __dir__ = on_first_use(__name__, {"EquilibriumClassifier": "classifier"})
