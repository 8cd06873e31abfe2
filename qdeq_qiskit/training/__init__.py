"""How a classifier is trained: data, Lightning task, run directory, report."""

from qdeq_qiskit.training.datasets import DataRecipe, load_splits
from qdeq_qiskit.training.errors import DataError, RunError, SetupError, TrainingError
from qdeq_qiskit.training.evaluation import Evaluation, evaluate, logistic_regression
from qdeq_qiskit.training.images import Images, ImageSplits
from qdeq_qiskit.training.recipe import OptimisationRecipe, TrainingRecipe
from qdeq_qiskit.training.run_directory import RunDirectory

__all__ = [
    "DataError",
    "DataRecipe",
    "Evaluation",
    "ImageSplits",
    "Images",
    "OptimisationRecipe",
    "RunDirectory",
    "RunError",
    "SetupError",
    "TrainingError",
    "TrainingRecipe",
    "evaluate",
    "load_splits",
    "logistic_regression",
]
