"""A few steps of training on the processor: its own noise in the loop, measured gradients, the implicit adjoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import final

import torch

from qdeq_qiskit.backends.kinds import Backend
from qdeq_qiskit.backends.runtime.errors import BudgetError
from qdeq_qiskit.backends.runtime.qpu_time import Budget
from qdeq_qiskit.hardware.cost import Prediction, rehearse
from qdeq_qiskit.hardware.methods._method import Method, Outcome
from qdeq_qiskit.hardware.settings import Tuning
from qdeq_qiskit.hardware.solve_folder import SolveFolder
from qdeq_qiskit.hardware.subject import Subject
from qdeq_qiskit.hardware.work import Work
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.training.data.images import Images
from qdeq_qiskit.training.evaluation import evaluate, wilson_interval
from qdeq_qiskit.training.preparation import setting_up


@final
class Tune(Method):
    """Adam on the cross entropy of all training images at once; tested before and after.

    Without Jacobian penalty and dropout: the one would take second derivatives, which are not measured, and the other
    is of no use on a few images. The budget is kept for the test at the end: the steps stop before it runs short.
    """

    def describe(self, work: Work) -> str:
        tuning = _options(work)
        return (
            f"tune: {tuning.steps} step{'s' * (tuning.steps > 1)} on {len(work.training_images):,} training images, "
            f"gradients by {tuning.gradient.replace('_', ' ')}; {len(work.images):,} test images before and after"
        )

    def predict(self, work: Work) -> Prediction:
        tuning = _options(work)

        def practice(backend: Backend) -> None:
            classifier = _trainable(work.subject, backend)
            evaluate(classifier, work.images, chunk=len(work.images))
            _train(classifier, work.training_images, tuning, _Purse(None))
            evaluate(classifier, work.images, chunk=len(work.images))

        return rehearse(practice, work.backend)

    def run(self, work: Work, folder: SolveFolder) -> Outcome:
        tuning, images = _options(work), work.images
        classifier = _trainable(work.subject, work.backend)
        purse = _Purse(work.connection.dispatcher.budget)
        before = evaluate(classifier, images, chunk=len(images))
        purse.put_down_test()
        losses = _train(classifier, work.training_images, tuning, purse)
        test = evaluate(classifier, images, chunk=len(images)) if losses else before
        before.save(folder.before)
        tuned = _at_home(work.subject, classifier)
        tuned.save(folder.model)
        cut = len(losses) < tuning.steps
        return Outcome(
            test,
            tuned,
            wilson_interval(test.accuracy, len(images)),
            "the number of images",
            figures={
                "tuning": {
                    "steps": len(losses),
                    "steps_asked_for": tuning.steps,
                    "stopped_by_budget": cut,
                    "training_images": len(work.training_images),
                    "loss": losses,
                    "before": before.metrics(),
                }
            },
            sentences=_sentences(losses, tuning, before.accuracy, test.accuracy, cut),
        )


@dataclass
class _Purse:
    """The budget, and what the test at the end and one more step will take of it, as the last ones did.

    Attributes:
        budget: None for no limit.
    """

    budget: Budget | None
    test: float = 0.0
    step: float = 0.0
    _before: float = field(default=0.0, repr=False)

    def put_down_test(self) -> None:
        """What was spent until now was one test."""
        self.test = self._since()

    def put_down_step(self) -> None:
        """What was spent since the last note was one step."""
        self.step = self._since()

    def affords_step(self) -> bool:
        """Whether a step can be taken and the result be tested."""
        return self.budget is None or self.budget.affords(self.step + self.test)

    @property
    def refusals(self) -> int:
        """How often something could not be paid so far, and was left out."""
        return 0 if self.budget is None else self.budget.refusals

    def _since(self) -> float:
        if self.budget is None:
            return 0.0
        spent = self.budget.spent
        difference, self._before = spent - self._before, spent
        return difference


def _train(classifier: QDEQClassifier, images: Images, tuning: Tuning, purse: _Purse) -> list[float]:
    """Take the steps; returns the loss before each of them that was taken."""
    features = classifier.features(torch.from_numpy(images.pixels))
    labels = torch.from_numpy(images.labels).to(features.device)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=tuning.learning_rate)
    losses: list[float] = []
    classifier.train()
    for _ in range(tuning.steps):
        if not purse.affords_step():
            break
        try:
            before = purse.refusals
            output = classifier.classify(features)
            if purse.refusals > before:  # some fixed points are not known, and their gradients would be wrong
                break
            loss = torch.nn.functional.cross_entropy(output.logits, labels)
            optimizer.zero_grad()
            loss.backward()
        except BudgetError:
            break
        optimizer.step()
        losses.append(float(loss.detach()))
        purse.put_down_step()
    classifier.eval()
    return losses


def _trainable(subject: Subject, backend: Backend) -> QDEQClassifier:
    """The model on a backend, without penalty and dropout."""
    recipe = subject.classifier.recipe
    assert recipe is not None
    plain = recipe.model.model_copy(update={"penalty": None, "dropout": 0.0, "warmup_steps": 0})
    with setting_up():
        classifier = QDEQClassifier.from_recipe(recipe.model_copy(update={"model": plain}).on_backend(backend), seed=0)
    classifier.load_tensors(subject.classifier.tensors())
    return classifier.eval()


def _at_home(subject: Subject, tuned: QDEQClassifier) -> QDEQClassifier:
    """The tuned weights on the backend that the model was trained on, where it can be read back anywhere."""
    classifier = subject.classifier.on_backend(subject.classifier.backend)
    classifier.load_tensors(tuned.tensors())
    return classifier


def _options(work: Work) -> Tuning:
    assert work.settings.tuning is not None
    return work.settings.tuning


def _sentences(losses: list[float], tuning: Tuning, before: float, after: float, cut: bool) -> tuple[str, ...]:
    if not losses:
        return ("The budget was spent before a step could be taken; the model is as it was.",)
    taken = f"{len(losses)} step{'s' * (len(losses) > 1)} of Adam at a learning rate of {tuning.learning_rate:g}"
    stopped = f"; the budget stopped it before step {len(losses) + 1} of {tuning.steps}" if cut else ""
    return (
        f"{taken}, gradients of the circuit's weights by {tuning.gradient.replace('_', ' ')}{stopped}.",
        f"Accuracy on this processor: {before:.1%} before, {after:.1%} after.",
    )
