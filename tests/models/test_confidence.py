"""The confidence of a class that was read from an estimate: right where it can be computed, calibrated elsewhere."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds import AnyBackend
from qdeq_qiskit.circuits import CircuitRecipe
from qdeq_qiskit.models import ClassifierRecipe, ModelRecipe, QDEQClassifier
from qdeq_qiskit.models.confidence import class_confidence


def test_between_two_classes_it_is_the_normal_distribution_of_their_difference() -> None:
    generator = torch.Generator().manual_seed(0)
    weight, bias = torch.randn(2, 3, generator=generator).double(), torch.randn(2, generator=generator).double()
    root = torch.randn(6, 3, 3, generator=generator).double()
    mean, covariance = torch.randn(6, 3, generator=generator).double(), root @ root.mT

    def logits(w: Tensor) -> Tensor:
        return w @ weight.mT + bias

    found = class_confidence(mean, covariance, logits(mean).argmax(1), logits)
    difference = weight[0] - weight[1]
    distance = (mean @ difference + bias[0] - bias[1]).abs()
    spread = torch.einsum("i,bij,j->b", difference, covariance, difference).sqrt()
    torch.testing.assert_close(found, torch.special.ndtr(distance / spread), rtol=0, atol=0.01)


def test_it_is_calibrated_for_states_of_which_nothing_else_is_known() -> None:
    generator = torch.Generator().manual_seed(1)
    head = torch.randn(4, 4, generator=generator).double()
    root = 0.1 * torch.randn(4, 4, generator=generator).double()
    exact = 2 * torch.rand(20_000, 4, generator=generator, dtype=torch.double) - 1
    estimate = exact + torch.randn(20_000, 4, generator=generator, dtype=torch.double) @ root.mT

    def logits(w: Tensor) -> Tensor:
        return torch.relu(w) @ head.mT

    predicted = logits(estimate).argmax(1)
    confidence = class_confidence(estimate, (root @ root.mT).expand(20_000, -1, -1), predicted, logits)
    agreed = (predicted == logits(exact).argmax(1)).double()
    for low in (0.5, 0.6, 0.7, 0.8, 0.9):
        chosen = (confidence >= low) & (confidence < low + 0.1)
        error = math.sqrt(0.25 / int(chosen.sum()))
        assert abs(float(agreed[chosen].mean() - confidence[chosen].mean())) < 3 * error + 0.01


def test_what_is_certain_has_confidence_one_and_what_is_unknown_has_none() -> None:
    covariance = torch.zeros(3, 2, 2)
    covariance[1] = torch.nan
    covariance[2] = torch.eye(2)
    mean = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.3, 0.0]])
    state = torch.random.get_rng_state()
    found = class_confidence(mean, covariance, mean.argmax(1), lambda w: w)
    assert found[0] == 1
    assert found[1].isnan()
    assert 0.5 < found[2] < 0.7
    assert torch.equal(torch.random.get_rng_state(), state)


def classifier(**backend: object) -> QDEQClassifier:
    recipe = ClassifierRecipe(
        class_names=("0", "3", "6"),
        circuit=recipes.load("circuits", "qdeq4-amplitude", CircuitRecipe),
        backend=TypeAdapter(AnyBackend).validate_python(backend),
        model=ModelRecipe.model_validate({"features": {"pool": {"kernel": 2}}, "penalty": None}),
    )
    return QDEQClassifier.from_recipe(recipe, seed=0)


def test_a_classifier_on_shots_says_how_sure_its_classes_are_and_an_exact_one_has_no_need_to() -> None:
    images = torch.rand(4, 8, 8, generator=torch.Generator().manual_seed(3))
    model = classifier(kind="shots", shots=500, seed=1)
    with torch.no_grad():
        output = model.eval().solve(images)
        assert model.train().solve(images).confidence is None
        assert classifier(kind="exact").eval().solve(images).confidence is None
    assert output.confidence is not None
    low, high = output.solution.interval()
    assert (output.confidence >= 1 / 3 - 0.05).all()
    assert (output.confidence <= 1).all()
    assert (low < high).all()
    # By hand, from draws of another generator.
    factor = torch.linalg.cholesky(output.solution.covariance[0].double())
    draws = output.solution.value[0] + (torch.randn(20_000, 4).double() @ factor.mT)
    states = draws.repeat_interleave(4, dim=1).to(model.head.weight)
    share = (model.head(torch.relu(states)).argmax(1) == output.labels[0]).double().mean()
    assert float(output.confidence[0]) == pytest.approx(float(share), abs=0.02)
