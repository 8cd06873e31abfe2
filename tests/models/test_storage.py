"""A classifier on disk."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_classifier import classifier

from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.models import ModelFileError, QDEQClassifier
from qdeq_qiskit.recipes import RecipeError


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    classifier(seed=4).save(tmp_path / "model")
    return tmp_path / "model"


def test_what_is_loaded_answers_exactly_like_what_was_saved(saved: Path) -> None:
    images = torch.rand(4, 8, 8)
    model, loaded = classifier(seed=4).eval(), QDEQClassifier.load(saved)
    assert torch.equal(model(images), loaded(images))
    assert loaded.recipe == model.recipe
    assert not loaded.training


def test_a_model_made_without_a_recipe_says_that_it_cannot_be_saved(tmp_path: Path) -> None:
    base = classifier()
    circuit: QNNCircuit = base.circuit
    model = QDEQClassifier(circuit, backend=base.backend, num_classes=3, model=base.options)
    with pytest.raises(ValueError, match="from_recipe"):
        model.save(tmp_path)
    assert not list(tmp_path.iterdir())


class Malicious:
    """A pickle that would leave a trace if it were ever executed."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.trace,))


@pytest.mark.parametrize("name", ["model.safetensors", "model.yaml"])
def test_a_malicious_pickle_in_place_of_a_file_is_refused_and_not_executed(saved: Path, name: str) -> None:
    trace = saved / "executed"
    (saved / name).write_bytes(pickle.dumps(Malicious(trace)))
    with pytest.raises((ModelFileError, RecipeError), match=name):
        QDEQClassifier.load(saved)
    assert not trace.exists()


def test_yaml_that_would_build_an_object_is_refused_and_not_executed(saved: Path) -> None:
    trace = saved / "executed"
    (saved / "model.yaml").write_text(f"!!python/object/apply:pathlib.Path.touch [{trace}]")
    with pytest.raises(RecipeError, match=r"model\.yaml"):
        QDEQClassifier.load(saved)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({"circuit.weight": torch.zeros(5)}, "weights are named"),
        (
            {"circuit.weight": torch.zeros(5), "head.weight": torch.zeros(3, 16), "head.bias": torch.zeros(3)},
            r"circuit\.weight has shape \(5,\), but this model's is \(39,\)",
        ),
        (
            {
                "circuit.weight": torch.full((39,), torch.nan),
                "head.weight": torch.zeros(3, 16),
                "head.bias": torch.zeros(3),
            },
            "NaN",
        ),
    ],
)
def test_weights_of_another_model_are_refused(saved: Path, tensors: dict[str, torch.Tensor], reason: str) -> None:
    save_file(tensors, saved / "model.safetensors")
    with pytest.raises(ModelFileError, match=reason):
        QDEQClassifier.load(saved)


def test_a_truncated_or_missing_file_is_named(saved: Path) -> None:
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ModelFileError, match=r"model\.safetensors: is not a whole"):
        QDEQClassifier.load(saved)
    path.unlink()
    with pytest.raises(ModelFileError, match="there is no such file"):
        QDEQClassifier.load(saved)


def test_a_file_of_another_format_is_refused(saved: Path) -> None:
    path = saved / "model.yaml"
    path.write_text(path.read_text().replace("classifier.1", "classifier.9"))
    with pytest.raises(ModelFileError, match=r"classifier\.9"):
        QDEQClassifier.load(saved)
