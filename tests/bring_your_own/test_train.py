"""Training in memory, of any model on any data, and the data that it refuses."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from qdeq_qiskit.backends.kinds.exact import ExactBackend
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, Picard, ReducedJacobianPenalty
from qdeq_qiskit.models import DEQClassifier, Features, ModelRecipe, QDEQClassifier
from qdeq_qiskit.sklearn import EquilibriumClassifier
from qdeq_qiskit.training import DataError, Images, OptimisationRecipe, SetupError, train
from qdeq_qiskit.training.task import ClassifierTask

SHORT = OptimisationRecipe(epochs=2, batch_size=8, learning_rate=0.05)


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.of_w, self.of_x = nn.Linear(4, 4), nn.Linear(2, 4)

    def forward(self, w: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(0.2 * self.of_w(w) + self.of_x(x))


def model(outputs: int = 2) -> DEQClassifier:
    torch.manual_seed(0)
    return DEQClassifier(Equilibrium(Layer(), state_size=4), nn.Linear(4, outputs))


def points(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, by the sign of a product, which no linear model can tell apart."""
    x = np.random.default_rng(0).normal(size=(count, 2))
    return x, (x[:, 0] * x[:, 1] > 0).astype(int)


class Pairs(Dataset[Any]):
    """A map-style dataset of whatever it is given."""

    def __init__(self, *items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, row: int) -> Any:
        return self.items[row]


def weights_after(data: Any, **options: Any) -> dict[str, Tensor]:
    own = model()
    train(own, data, optimisation=SHORT, seed=4, **options)
    return own.tensors()


def test_arrays_tensors_and_datasets_of_the_same_numbers_train_to_the_same_weights() -> None:
    x, y = points()
    tensors = (torch.tensor(x), torch.tensor(y))
    expected = weights_after((x, y))
    others = [
        tensors,
        (x.tolist(), list(map(int, y))),
        TensorDataset(*tensors),
        Pairs(*zip(x, y, strict=True)),
        list(zip(tensors[0], tensors[1], strict=True)),
    ]
    for data in others:
        for name, tensor in weights_after(data).items():
            assert torch.equal(tensor, expected[name])


def test_training_learns_keeps_the_best_epoch_and_leaves_the_process_as_it_was() -> None:
    x, y = points(200)
    own, options = model(), OptimisationRecipe(epochs=30, batch_size=32, learning_rate=0.05)
    torch.manual_seed(77)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    trained = train(own, (x[:150], y[:150]), valid=(x[150:], y[150:]), optimisation=options, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    assert not own.training
    losses = [row["valid_loss"] for row in trained.history]
    assert trained.best_epoch == int(np.argmin(losses)) + 1
    with torch.no_grad():
        logits = own(torch.tensor(x[150:]))
    assert float(nn.functional.cross_entropy(logits, torch.tensor(y[150:]))) == pytest.approx(min(losses), abs=1e-5)
    assert (logits.argmax(dim=1).numpy() == y[150:]).mean() > 0.85
    assert trained.circuits == trained.shots == 0


def test_a_model_that_was_trained_before_drops_out_and_normalises_by_batches_again() -> None:
    x, y = points()
    own = model()
    own.head = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 2))
    modes = []
    own.head.register_forward_hook(lambda module, inputs, output: modes.append(module.training))
    for _ in range(2):
        train(own, (x, y), valid=(x, y), optimisation=SHORT)
        assert modes == 2 * [*[True] * 5, False]  # five batches, then validation
        assert not own.training
        modes.clear()


def test_a_quantum_classifier_is_trained_by_the_same_function_on_images() -> None:
    rng = np.random.default_rng(1)
    images, labels = rng.random((24, 4, 4)).astype(np.float32), np.arange(24) % 2
    images[labels == 1, :2] *= 0.2
    circuit = QNNCircuit.compose(amplitude_encoder(4, 16), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)
    own = QDEQClassifier(circuit, backend=ExactBackend(), num_classes=2, seed=0)
    before = own.tensors()
    trained = train(own, Images(images, labels, 2), optimisation=OptimisationRecipe(epochs=15, learning_rate=0.03))
    assert trained.history[-1]["train_loss"] < trained.history[0]["train_loss"]
    assert trained.circuits > 0
    assert trained.best_epoch == 15
    assert all(not torch.equal(before[name], tensor) for name, tensor in own.tensors().items())


def quantum_features(images: np.ndarray, **options: float) -> Tensor:
    circuit = QNNCircuit.compose(amplitude_encoder(4, 16), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)
    recipe = ModelRecipe(features=Features(**options))
    return QDEQClassifier(circuit, backend=ExactBackend(), num_classes=2, model=recipe).features(torch.tensor(images))


def test_pixels_in_bytes_are_fractions_and_other_large_numbers_a_warning_unless_they_are_standardised() -> None:
    levels = np.random.default_rng(1).integers(0, 256, (3, 4, 4)).astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.testing.assert_close(quantum_features(levels), quantum_features(levels / np.float32(255)))
        quantum_features(levels.astype(np.float32) - 128, mean=0, std=1)
    with pytest.warns(
        UserWarning, match=r"pixels lie between \d+ and 25\d; features\.mean and features\.std are for 0 … 1"
    ):
        quantum_features(levels.astype(np.float32))


def test_a_regression_has_a_loss_and_no_accuracy() -> None:
    x, _ = points()
    wanted = np.sin(x[:, :1])
    options = OptimisationRecipe(epochs=25, batch_size=10, learning_rate=0.05)
    trained = train(model(1), (x, wanted), loss=nn.functional.mse_loss, optimisation=options)
    losses = [row["train_loss"] for row in trained.history]
    assert losses[-1] < 0.1 * losses[0]
    assert math.isnan(trained.history[-1]["train_accuracy"])


def test_the_loss_of_a_step_is_the_cross_entropy_and_the_penalty_times_its_weight() -> None:
    torch.manual_seed(0)
    equilibrium = Equilibrium(Layer(), state_size=4, penalty=ReducedJacobianPenalty())
    own, (x, y) = DEQClassifier(equilibrium, nn.Linear(4, 2), penalty_weight=3.0), points()
    batch = own.features(torch.tensor(x)), torch.tensor(y)
    loss = ClassifierTask(own, SHORT).training_step(batch, 0)
    output = own.classify(batch[0])
    assert output.solution.penalty is not None
    expected = nn.functional.cross_entropy(output.logits, batch[1]) + 3 * output.solution.penalty
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert output.solution.penalty.item() > 0.001


@pytest.mark.parametrize(("samples", "batch_size", "steps"), [(9, 8, 2), (5, 64, 1), (3, 1, 3)])
def test_batches_of_one_the_last_one_too_and_batches_larger_than_the_data_are_batches(
    samples: int, batch_size: int, steps: int
) -> None:
    x, y = points(samples)
    y[:2] = 0, 1
    options = OptimisationRecipe(epochs=1, batch_size=batch_size)
    trained = train(model(), (x, y), valid=(x[:1], y[:1]), optimisation=options)
    assert trained.history[0]["step"] == steps
    assert math.isfinite(trained.history[0]["train_loss"] + trained.history[0]["valid_loss"])


def test_a_class_without_samples_is_one_that_is_never_seen() -> None:
    x, y = points()
    assert math.isfinite(train(model(3), (x, 2 * y), optimisation=SHORT).history[-1]["train_loss"])


def test_samples_that_did_not_converge_are_told_of_once_where_train_was_called() -> None:
    equilibrium = Equilibrium(Layer(), state_size=4, solver=Picard(max_iterations=1, tolerance=1e-9))
    with pytest.warns(UserWarning, match="in 2 of 2 epochs some samples did not converge") as caught:
        train(DEQClassifier(equilibrium, nn.Linear(4, 2)), points(), optimisation=SHORT)
    assert [entry.filename for entry in caught] == [__file__]


X, Y = points(6)


def changed(array: np.ndarray, place: Any, value: Any) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


WRONG: dict[str, tuple[Any, str]] = {
    "nan": ((changed(X, (3, 1), np.nan), Y), "data: 1 inputs hold NaN or infinite values, the first is input 3"),
    "infinite": ((changed(X, (0, 0), np.inf), Y), "data: 1 inputs hold NaN or infinite values, the first is input 0"),
    "negative label": ((X, changed(Y, 2, -1)), "data: sample 2 has label -1; expected whole numbers from 0"),
    "label too large": ((X, changed(Y, 2, 7)), "a label is 7, but the model gives 2 logits; expected labels from 0 to"),
    "labels are fractions": ((X, Y + 0.5), r"data: labels are of type float64 .*expected whole numbers from 0"),
    "labels are words": ((X, ["cat"] * 6), "data: labels are words; expected whole numbers from 0"),
    "too few labels": ((X, Y[:4]), r"data: 6 inputs have labels of shape \(4,\); expected one for each"),
    "one-hot labels": ((X, np.eye(2, dtype=int)[Y]), r"data: labels are of type int64 and shape \(6, 2\)"),
    "one class": ((X, 0 * Y), "data: all labels are 0; expected at least two classes"),
    "nothing": ((X[:0], Y[:0]), "data: there are no samples"),
    "unequal": (([X[0], X[1, :1]], [0, 1]), r"data: inputs are of unequal sizes: .*\(2,\), number 1 has \(1,\)"),
    "ragged lists": (([[0.0, 1.0], [2.0]], [0, 1]), "data: inputs are of unequal sizes"),
    "words": (([["a", "b"]], [0]), "data: inputs are words; expected numbers"),
    "objects": (([[object(), 1]], [0]), "data: inputs are of type object; expected numbers"),
    "complex": ((X * 1j, Y), "data: inputs are of type complex128; expected numbers"),
    "a row": ((X[:, 0], Y), r"data: inputs are an array of shape \(6,\); expected numbers of shape \(samples, ...\)"),
    "three parts": ((X, Y, Y), "data: holds 3 parts; expected two, inputs and labels"),
    "a number": (3, r"data: is of type int; expected \(inputs, labels\), or a dataset"),
    "a stream": (Stream(), r"data: is of type Stream; expected \(inputs, labels\), or a dataset"),
    "a loader": (DataLoader(TensorDataset(torch.tensor(X))), "data: is a DataLoader; give its dataset"),
    "no pairs": (Pairs(1.0, 2.0), r"data: sample 0 is of type float; expected \(input, label\)"),
    "an empty dataset": (Pairs(), "data: there are no samples"),
    "a dataset of unequal inputs": (Pairs((X[0], 0), (X[1, :1], 1)), "data: inputs are of unequal sizes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_data_that_cannot_be_used_are_refused_in_a_sentence_and_nothing_is_learned(name: str) -> None:
    data, said = WRONG[name]
    own = model()
    before = own.tensors()
    with pytest.raises(DataError, match=said) as caught:
        train(own, data, optimisation=SHORT)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(before[key], tensor) for key, tensor in own.tensors().items())


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"valid": (X[:0], Y[:0])}, DataError, "valid: there are no samples; leave it out"),
        ({"valid": (X[:, :1], Y)}, DataError, r"valid: inputs have shape \(1,\) each, those of the data \(2,\)"),
        (
            {"optimisation": OptimisationRecipe(early_stopping_patience=3)},
            SetupError,
            "early_stopping_patience is 3, but",
        ),
        ({"loss": lambda logits, labels: logits.sum() * math.nan}, RuntimeError, "the loss of epoch 1 is nan"),
    ],
)
def test_options_that_cannot_be_used_are_refused_in_a_sentence(options: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        train(model(), (X, Y), **({"optimisation": SHORT} | options))


def test_a_head_without_logits_needs_a_loss_and_a_model_without_parameters_nothing_at_all() -> None:
    own = model()
    own.head = nn.Flatten(0)
    with pytest.raises(
        SetupError, match=r"the head gives \(\d+,\) for \d samples; cross entropy needs \(batch, classes\)"
    ):
        train(own, (X, Y), optimisation=SHORT)
    for parameter in own.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(SetupError, match="nothing to train"):
        train(own, (X, Y), optimisation=SHORT)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ((changed(X, (3, 1), np.nan), Y), "Input X contains NaN"),
        ((changed(X, (3, 1), np.inf), Y), "Input X contains infinity"),
        ((X, Y + 0.5), "Unknown label type: continuous"),
        ((X, Y[:4]), "inconsistent numbers of samples"),
        ((X, 0 * Y), "y holds one class only, 0; expected at least two classes"),
        ((X[:0], Y[:0]), "Found array with 0 sample"),
        ((X.reshape(6, 2, 1), Y), "Found array with dim 3"),
        ((X * 1j, Y), "Complex data not supported"),
        (([["a", "b"]] * 6, Y), "could not convert string to float"),
    ],
)
def test_the_scikit_learn_face_refuses_them_in_its_own_words(data: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        EquilibriumClassifier(epochs=1, random_state=0).fit(*data)


def test_the_scikit_learn_face_takes_batches_of_one_and_larger_than_the_data_and_refuses_an_empty_share() -> None:
    for batch_size in (1, 5, 100):
        fitted = EquilibriumClassifier(epochs=1, batch_size=batch_size, random_state=0).fit(X, Y)
        assert fitted.history_[0]["step"] == -(-len(X) // batch_size)
    with pytest.raises(ValueError, match=r"validation_fraction is 0\.01, but the samples cannot be split so"):
        EquilibriumClassifier(epochs=1, validation_fraction=0.01, random_state=0).fit(X, Y)
