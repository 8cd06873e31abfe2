"""What users train: the QDEQ classifier, and models of parts of one's own."""

from qdeq_qiskit.models.classical_map import ClassicalLayer
from qdeq_qiskit.models.classifier import QDEQClassifier
from qdeq_qiskit.models.deq import DEQClassifier
from qdeq_qiskit.models.features import Features, Pooling
from qdeq_qiskit.models.output import ClassifierOutput
from qdeq_qiskit.models.penalty_schedule import PenaltySchedule
from qdeq_qiskit.models.recipe import ClassifierRecipe, ModelRecipe
from qdeq_qiskit.models.storage import ModelFileError

__all__ = [
    "ClassicalLayer",
    "ClassifierOutput",
    "ClassifierRecipe",
    "DEQClassifier",
    "Features",
    "ModelFileError",
    "ModelRecipe",
    "PenaltySchedule",
    "Pooling",
    "QDEQClassifier",
]
