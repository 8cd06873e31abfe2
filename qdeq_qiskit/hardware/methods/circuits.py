"""The fixed point of every image, evaluation by evaluation, on the processor."""

from __future__ import annotations

from typing import final

from qdeq_qiskit.hardware.cost import Prediction, predict
from qdeq_qiskit.hardware.methods._method import Method, Outcome
from qdeq_qiskit.hardware.solve_folder import SolveFolder
from qdeq_qiskit.hardware.work import Work
from qdeq_qiskit.training.evaluation import evaluate, wilson_interval


@final
class Circuits(Method):
    """All images in one batch: one job takes an evaluation of all that have not converged."""

    def describe(self, work: Work) -> str:
        return "circuits: an evaluation of all images that are not finished is one job"

    def predict(self, work: Work) -> Prediction:
        return predict(work.subject.classifier, work.backend, work.images.pixels)

    def run(self, work: Work, folder: SolveFolder) -> Outcome:
        images = work.images
        test = evaluate(work.classifier(), images, chunk=len(images))
        interval = wilson_interval(test.accuracy, len(images))
        return Outcome(test, work.subject.classifier, interval, "the number of images")
