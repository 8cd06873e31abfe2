"""The estimator: what it computes, what it keeps, and what it refuses."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from qiskit.quantum_info import Statevector
from scipy.special import softmax
from sklearn.datasets import load_wine
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import StandardScaler

from qdeq_qiskit.backends import ExactBackend
from qdeq_qiskit.equilibrium import NotConvergedWarning
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.sklearn import EquilibriumClassifier

Table = tuple[np.ndarray, np.ndarray]


def z_of_amplitudes(fitted: EquilibriumClassifier, features: np.ndarray) -> np.ndarray:
    """⟨Z₀⟩ … ⟨Z_{n−1}⟩ of the ansatz on v/‖v‖, by Qiskit alone; wire 0 is the first bit of an amplitude's index."""
    recipe = fitted.layout_.circuit
    n = recipe.num_qubits
    ansatz = recipe.ansatz.build(n).circuit.assign_parameters(fitted.model_.weight.detach().double().numpy())
    values = []
    for row in features:
        amplitudes = np.zeros(2**n)
        amplitudes[: len(row)] = row
        if not amplitudes.any():
            amplitudes[0] = 1
        in_qiskits_order = amplitudes.reshape((2,) * n).transpose().ravel() / np.linalg.norm(amplitudes)
        bits = Statevector(in_qiskits_order).evolve(ansatz).probabilities().reshape((2,) * n)
        # Qiskit's axis 0 is its last qubit.
        values.append([np.subtract(*bits.sum(axis=tuple(set(range(n)) - {n - 1 - k}))) for k in range(n)])
    return np.array(values)


def read_by_the_head(fitted: EquilibriumClassifier, w: np.ndarray) -> np.ndarray:
    d, n = fitted.layout_.width, w.shape[1]
    z = w[:, np.arange(d) * n // d]
    learned = {name: tensor.numpy() for name, tensor in fitted.model_.tensors().items()}
    return softmax(np.maximum(z, 0) @ learned["head.weight"].T + learned["head.bias"], axis=1)


def rows_with_a_zero_one(flowers: Table) -> np.ndarray:
    return np.vstack([flowers[0][::10], np.zeros((1, 4))])


@pytest.mark.parametrize("constant", [None, 0])
def test_one_direct_layer_is_the_circuit_as_qiskit_computes_it(
    flowers: Table, quick: dict[str, Any], constant: float | None
) -> None:
    fitted = EquilibriumClassifier(mode="direct", constant=constant, feature_scale=0.7, **quick).fit(*flowers)
    rows = rows_with_a_zero_one(flowers)
    features = 0.7 * rows if constant == 0 else np.hstack([0.7 * rows, np.full((len(rows), 1), 2.0)])  # √4
    expected = read_by_the_head(fitted, z_of_amplitudes(fitted, features))
    np.testing.assert_allclose(fitted.predict_proba(rows), expected, atol=1e-10)


def test_probabilities_are_read_from_fixed_points_of_the_circuit_as_qiskit_computes_it(
    fitted: EquilibriumClassifier, flowers: Table
) -> None:
    rows = rows_with_a_zero_one(flowers)
    w = fitted.solve(rows).solution.value.numpy()
    features = np.hstack([rows, np.full((len(rows), 1), 2.0)])
    again = z_of_amplitudes(fitted, features + w[:, np.arange(5) * 4 // 5])
    assert np.linalg.norm(again - w, axis=1).max() < 1e-3  # the solver's tolerance is 1e-4, relative
    np.testing.assert_allclose(fitted.predict_proba(rows), read_by_the_head(fitted, w), atol=1e-12)


def test_it_learns_labels_of_any_kind_and_its_answers_agree(fitted: EquilibriumClassifier, flowers: Table) -> None:
    X, y = flowers
    assert fitted.classes_.tolist() == ["setosa", "versicolor", "virginica"]
    assert fitted.n_features_in_ == 4
    assert not hasattr(fitted, "feature_names_in_")
    assert fitted.score(X, y) >= 0.9
    probabilities = fitted.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_allclose(softmax(fitted.decision_function(X), axis=1), probabilities)
    assert (fitted.classes_[probabilities.argmax(axis=1)] == fitted.predict(X)).all()


def test_two_classes_have_one_decision_whose_sign_is_the_label(flowers: Table, quick: dict[str, Any]) -> None:
    X, y = flowers
    two = y != "setosa"
    fitted = EquilibriumClassifier(**quick).fit(X[two], y[two] == "virginica")
    decision = fitted.decision_function(X[two])
    assert decision.shape == (two.sum(),)
    assert ((decision > 0) == fitted.predict(X[two])).all()
    np.testing.assert_allclose(1 / (1 + np.exp(-decision)), fitted.predict_proba(X[two])[:, 1])


def test_a_seed_repeats_a_fit_bit_for_bit_and_torchs_generator_is_left_alone(
    flowers: Table, quick: dict[str, Any]
) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = EquilibriumClassifier(**quick).fit(*flowers).predict_proba(flowers[0])
    assert torch.equal(torch.rand(3), expected)
    second = EquilibriumClassifier(**quick).fit(*flowers).predict_proba(flowers[0])
    other = EquilibriumClassifier(**{**quick, "random_state": np.random.RandomState(1)}).fit(*flowers)
    assert (first == second).all()
    assert np.abs(first - other.predict_proba(flowers[0])).max() > 1e-3


def test_fitting_writes_nothing(
    flowers: Table, quick: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    EquilibriumClassifier(**quick, validation_fraction=0.2).fit(*flowers)
    assert list(tmp_path.iterdir()) == []


def test_columns_of_a_data_frame_are_remembered_by_name(flowers: Table, quick: dict[str, Any]) -> None:
    table = pd.DataFrame(flowers[0], columns=list("abcd"))
    fitted = EquilibriumClassifier(**quick).fit(table, pd.Series(flowers[1]))
    assert fitted.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(table.rename(columns={"a": "e"}))


def test_without_held_out_samples_the_last_epoch_stays_and_with_them_the_best(
    flowers: Table, quick: dict[str, Any]
) -> None:
    options = {**quick, "epochs": 12, "learning_rate": 1.0}  # a rate with which the loss goes up and down
    plain = EquilibriumClassifier(**options).fit(*flowers)
    assert [row["epoch"] for row in plain.history_] == list(range(1, 13))
    assert "valid_loss" not in plain.history_[-1]
    held_out = EquilibriumClassifier(**options, validation_fraction=0.3, early_stopping_patience=2).fit(*flowers)
    losses = [row["valid_loss"] for row in held_out.history_]
    assert held_out.n_iter_ == len(losses) == int(np.argmin(losses)) + 3 < 12
    shorter = {**options, "epochs": int(np.argmin(losses)) + 1}
    best = EquilibriumClassifier(**shorter, validation_fraction=0.3).fit(*flowers)
    np.testing.assert_array_equal(held_out.predict_proba(flowers[0]), best.predict_proba(flowers[0]))


def test_a_warm_start_goes_on_where_the_fit_before_ended(flowers: Table, quick: dict[str, Any]) -> None:
    fitted = EquilibriumClassifier(**quick, warm_start=True, dropout=0).fit(*flowers)
    before, circuits = fitted.history_[-1]["train_loss"], fitted.circuits_
    fitted.set_params(learning_rate=1e-9, epochs=1).fit(*flowers)  # as good as no step: the loss is where it was
    assert [row["epoch"] for row in fitted.history_] == [1, 2, 3, 4]
    assert fitted.n_iter_ == 4
    assert fitted.history_[-1]["train_loss"] < before
    assert fitted.circuits_ > circuits
    with pytest.raises(ValueError, match=r"goes on with the classes of the fit before, \['setosa'"):
        fitted.fit(flowers[0], flowers[1] == "setosa")
    with pytest.raises(ValueError, match="another; set warm_start=False"):
        fitted.set_params(ansatz="real_amplitudes").fit(*flowers)
    assert fitted.set_params(warm_start=False).fit(*flowers).n_iter_ == 1


def test_a_fitted_estimator_moves_to_shots_and_noise_with_its_weights(
    fitted: EquilibriumClassifier, flowers: Table
) -> None:
    rows = flowers[0][::5]
    exact = fitted.predict_proba(rows)
    shots = fitted.on_backend({"kind": "shots", "shots": 200_000})
    sampled = shots.predict_proba(rows)
    assert 0 < np.abs(sampled - exact).max() < 0.1
    np.testing.assert_array_equal(shots.predict_proba(rows), sampled)  # the same shots whenever it is asked
    assert shots.solve(rows).solution.covariance is not None
    noisy = fitted.on_backend("noisy").predict_proba(rows)
    assert 1e-3 < np.abs(noisy - exact).max() < 0.5
    np.testing.assert_array_equal(fitted.predict_proba(rows), exact)
    assert fitted.backend is None


@pytest.mark.parametrize(
    "backend",
    [
        "exact",
        {"kind": "exact", "precision": "single"},
        ExactBackend(precision="single"),
    ],
)
def test_a_backend_is_a_recipes_name_a_mapping_or_itself(
    flowers: Table, quick: dict[str, Any], backend: object
) -> None:
    fitted = EquilibriumClassifier(**quick, backend=backend).fit(*flowers)
    assert fitted.model_.weight.dtype == torch.float32
    assert fitted.predict_proba(flowers[0]).dtype == np.float64


def test_it_trains_with_shots_too_and_counts_them(flowers: Table) -> None:
    X, y = flowers[0][::5], flowers[1][::5]
    estimator = EquilibriumClassifier(
        backend={"kind": "shots", "shots": 1000}, ansatz="real_amplitudes", epochs=1, penalty=None, random_state=0
    )
    fitted = estimator.fit(X, y)
    assert fitted.shots_ > fitted.circuits_ > 0
    again = EquilibriumClassifier(**estimator.get_params()).fit(X, y)
    np.testing.assert_array_equal(fitted.predict_proba(X[:5]), again.predict_proba(X[:5]))


def test_the_model_is_saved_without_pickling(fitted: EquilibriumClassifier, flowers: Table, tmp_path: Path) -> None:
    fitted.model_.save(tmp_path)
    loaded = QDEQClassifier.load(tmp_path)
    assert loaded.recipe is not None
    assert loaded.recipe.class_names == ("setosa", "versicolor", "virginica")
    features = torch.from_numpy(fitted.layout_.of(flowers[0]))
    with torch.no_grad():
        np.testing.assert_array_equal(loaded.classify(features).logits, fitted.decision_function(flowers[0]))


def test_samples_without_an_equilibrium_are_counted_in_a_warning(flowers: Table, quick: dict[str, Any]) -> None:
    estimator = EquilibriumClassifier(**quick, solver={"kind": "picard", "max_iterations": 1})
    with pytest.warns(NotConvergedWarning, match=r"in 3 of 3 epochs .* it was 50 of 50"):
        estimator.fit(*flowers)
    with pytest.warns(NotConvergedWarning, match="7 of 7 samples did not converge"):
        estimator.predict(flowers[0][:7])


def test_a_fit_without_trouble_warns_of_nothing(flowers: Table, quick: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EquilibriumClassifier(**quick).fit(*flowers).predict(flowers[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "EquilibriumClassifier: epochs: 0 is not valid; expected a number greater than or equal to 1"),
        ({"learning_rate": -1}, "learning_rate: -1 is not valid"),
        ({"batch_size": "all"}, "batch_size: 'all' is not valid"),
        ({"dropout": 1.0}, "dropout: 1.0 is not valid"),
        ({"penalty": -0.1}, "penalty.weight: -0.1 is not valid"),
        ({"penalty": "redused"}, "penalty.*'redused'.*reduced"),
        ({"solver": "newtown"}, "solver.*'newtown'.*newton"),
        ({"solver": {"kind": "newton", "tol": 1}}, "solver.*tol"),
        ({"adjoint": "implict"}, "adjoint.*'implict'.*implicit"),
        ({"mode": "implied"}, "mode.*'implied'.*implicit"),
        ({"layers": 3}, "layers is for mode direct or coherent"),
        ({"backend": "exakt"}, "'exakt'.*exact"),
        ({"backend": {"kind": "exact", "device": "tpu"}}, "backend.*device.*'tpu'"),
        ({"backend": 4096}, "backend is 4096; expected the name"),
        ({"validation_fraction": 1.5}, "validation_fraction is 1.5; expected a number between 0 and 1"),
        ({"validation_fraction": 0.01}, "validation_fraction is 0.01, but the samples cannot be split so"),
        ({"early_stopping_patience": 3}, "set validation_fraction"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_by_fit_in_one_sentence(
    flowers: Table, arguments: dict[str, Any], message: str
) -> None:
    estimator = EquilibriumClassifier(**arguments)
    with pytest.raises(ValueError, match=message):
        estimator.fit(*flowers)
    assert not hasattr(estimator, "classes_")


def test_data_that_cannot_be_used_are_refused(flowers: Table, quick: dict[str, Any]) -> None:
    X, y = flowers
    estimator = EquilibriumClassifier(**quick)
    with pytest.raises(NotFittedError):
        estimator.predict(X)
    with pytest.raises(ValueError, match="one class only, 'setosa'; expected at least two classes"):
        estimator.fit(X, np.full(len(X), "setosa"))
    with pytest.raises(ValueError, match="NaN"):
        estimator.fit(np.where(X > 1, np.nan, X), y)
    with pytest.raises(ValueError, match=r"50 rows with values beyond the range.*StandardScaler"):
        EquilibriumClassifier(**quick, backend="exact").fit(1e300 + 0 * X, y)


def test_the_classical_control_takes_the_circuits_place_and_no_circuits() -> None:
    X, y = load_wine(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    control = EquilibriumClassifier(map="classical", epochs=15, random_state=0).fit(X, y)
    assert (control.circuits_, control.shots_) == (0, 0)
    assert control.model_.weight.numel() == EquilibriumClassifier(epochs=1).fit(X, y).model_.weight.numel()
    assert control.score(X, y) > 0.9
    with pytest.raises(ValueError, match=r"model\.map is 'classical'"):
        control.on_backend("shots")
    with pytest.raises(ValueError, match=r"model\.map is 'classical'"):
        EquilibriumClassifier(map="classical", backend="shots").fit(X, y)
