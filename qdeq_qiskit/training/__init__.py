"""How a model is trained: data, Lightning task, run directory, report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeq_qiskit.first_use import on_first_use
from qdeq_qiskit.training.data.datasets import DataRecipe, load_splits
from qdeq_qiskit.training.data.images import Images, ImageSplits
from qdeq_qiskit.training.errors import DataError, RunError, SetupError, TrainingError
from qdeq_qiskit.training.evaluation import Evaluation, evaluate, logistic_regression
from qdeq_qiskit.training.recipe import OptimisationRecipe, TrainingRecipe
from qdeq_qiskit.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from qdeq_qiskit.training.in_memory import Trained, train

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
    "Trained",
    "TrainingError",
    "TrainingRecipe",
    "evaluate",
    "load_splits",
    "logistic_regression",
    "train",
]

# Lightning takes a second to import, which only those pay who train.
__getattr__, __dir__ = on_first_use(__name__, {"Trained": "in_memory", "train": "in_memory"})
