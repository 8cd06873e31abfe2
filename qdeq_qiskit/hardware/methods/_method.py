"""What every method is: a prediction, and the work itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from qdeq_qiskit.hardware.cost import Prediction
from qdeq_qiskit.hardware.solve_folder import SolveFolder
from qdeq_qiskit.hardware.work import Work
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.evaluation import Evaluation


@dataclass(frozen=True)
class Outcome:
    """What came of a solve.

    Attributes:
        test: each test image's outcome.
        model: the one that was tested, on the backend that it was trained on.
        accuracy_interval: of the accuracy, at 95%.
        accuracy_interval_of: what it accounts for, in a few words.
        figures: what the method has to say beside that, by section, in plain values.
        sentences: the same for people, a sentence each.
    """

    test: Evaluation
    model: QDEQClassifier
    accuracy_interval: tuple[float, float]
    accuracy_interval_of: str
    figures: dict[str, Any] = field(default_factory=dict)
    sentences: tuple[str, ...] = ()


class Method(ABC):
    """A way to use a processor. It asks for the same circuits whenever it is run on the same answers."""

    @abstractmethod
    def describe(self, work: Work) -> str:
        """What it does, in one sentence without its full stop."""

    @abstractmethod
    def predict(self, work: Work) -> Prediction:
        """What it will take; nothing is asked of the processor."""

    @abstractmethod
    def run(self, work: Work, folder: SolveFolder) -> Outcome:
        """Do it; files beside `test.safetensors` go to the folder.

        Raises:
            HardwareError: it could not be finished; what was measured is in the ledger.
        """
