"""What users train: the QDEQ classifier."""

from qdeq_qiskit.models.classifier import ClassifierOutput, QDEQClassifier
from qdeq_qiskit.models.features import Features, Pooling
from qdeq_qiskit.models.recipe import ClassifierRecipe, ModelRecipe
from qdeq_qiskit.models.storage import ModelFileError

__all__ = [
    "ClassifierOutput",
    "ClassifierRecipe",
    "Features",
    "ModelFileError",
    "ModelRecipe",
    "Pooling",
    "QDEQClassifier",
]
