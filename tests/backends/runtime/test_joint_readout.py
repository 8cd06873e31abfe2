"""Covariances from an estimator's answers, against those of the shots themselves."""

import math

import numpy as np
import pytest
from qiskit.quantum_info import Pauli, PauliList, SparsePauliOp

from qdeq_qiskit.backends.runtime.joint_readout import JointReadout
from qdeq_qiskit.noise import MitigationRecipe

SHOTS = 50
NONE = MitigationRecipe.parse("none")


def shots_of_three_wires(rows=3, seed=0):
    """Outcomes ±1 of correlated wires, (rows, shots, wire)."""
    generator = np.random.default_rng(seed)
    flips = generator.random((rows, SHOTS, 3)) < 0.3
    flips[..., 1] ^= flips[..., 0]
    return 1.0 - 2.0 * flips


def answers(readout, outcomes, factors=(1.0, 1.0, 1.0)):
    """What an estimator says of strings of Z from these outcomes; trex multiplies by a factor for each wire."""
    evs, errors = [], []
    for string in readout.strings:
        support = np.flatnonzero(string.paulis[0].z)
        factor = math.prod(factors[wire] for wire in support)
        eigenvalues = outcomes[..., support].prod(axis=-1)
        evs.append(factor * eigenvalues.mean(axis=1))
        errors.append(factor * eigenvalues.std(axis=1) / math.sqrt(SHOTS))
    return {"evs": np.array(evs), "stds": np.array(errors), "ensemble_standard_error": np.array(errors)}


@pytest.mark.parametrize("factors", [(1.0, 1.0, 1.0), (1.1, 1.3, 1.05)])
def test_values_and_covariance_are_those_of_the_shots(factors):
    observables = [
        SparsePauliOp(["IIZ", "IZI"], [0.5, -0.25]),
        SparsePauliOp(["IZZ", "III"], [1.0, 2.0]),
        SparsePauliOp("ZII"),
    ]
    readout = JointReadout.of(observables)
    outcomes = shots_of_three_wires()
    measured = readout.measurement(answers(readout, outcomes, factors), NONE, NONE.overhead(SHOTS), None)
    a, b, c = (factor * outcomes[..., wire] for wire, factor in enumerate(factors))
    each = np.stack([0.5 * a - 0.25 * b, a * b + 2, c])  # what a shot counts for each observable
    assert np.allclose(measured.values, each.mean(axis=2).T, rtol=0, atol=1e-12)
    for row in range(len(outcomes)):
        assert np.allclose(measured.covariance[row], np.cov(each[:, row]) / SHOTS, rtol=0, atol=1e-12)


def test_the_spread_of_random_circuits_changes_variances_and_not_how_strings_go_together():
    recipe = MitigationRecipe.parse("twirling")
    cost = recipe.overhead(SHOTS)
    readout = JointReadout.of([SparsePauliOp(label) for label in ("IIZ", "IZI", "IZZ")])
    outcomes = shots_of_three_wires()
    arrays = answers(readout, outcomes)
    shots = cost.randomizations * cost.shots_per_circuit
    arrays["ensemble_standard_error"] = arrays["ensemble_standard_error"] * np.sqrt(SHOTS / shots)
    seen = arrays["ensemble_standard_error"] * np.array([0.7, 1.0, 1.5, *[1.0] * (len(readout.strings) - 3)])[:, None]
    covariance = readout.measurement(arrays | {"stds": seen}, recipe, cost, None).covariance.numpy()
    a, b = outcomes[..., 0], outcomes[..., 1]
    for row, found in enumerate(covariance):
        variances = np.diag(found)
        unbiased = cost.randomizations / (cost.randomizations - 1)
        assert np.allclose(variances, seen[:3, row] ** 2 * unbiased, rtol=1e-9)
        correlation = found / np.sqrt(np.outer(variances, variances))
        assert np.allclose(correlation, np.corrcoef(np.stack([a[row], b[row], (a * b)[row]])), rtol=0, atol=1e-9)


def test_strings_of_different_circuits_are_uncorrelated():
    readout = JointReadout.of([SparsePauliOp("IZ"), SparsePauliOp("IX"), SparsePauliOp("ZI")])
    answer = np.full((len(readout.strings), 1), 0.5)
    errors = np.sqrt((1 - answer**2) / SHOTS)
    arrays = {"evs": answer, "stds": errors, "ensemble_standard_error": errors}
    covariance = readout.measurement(arrays, NONE, NONE.overhead(SHOTS), None).covariance[0]
    assert covariance[0, 1] == 0
    assert (covariance[1, 2] == 0) != (covariance[0, 2] == 0)  # ZI goes with one of the two
    assert readout.num_bases == 2


@pytest.mark.parametrize(
    "labels",
    [
        ["IIIZ", "IIZI", "IZII", "ZIII"],
        ["IIIZ", "IIZI", "IIIX", "IIXI", "IXII"],
        ["IZZ", "ZII", "XXI", "IXX", "YIY", "IIZ"],
        [pauli.to_label() for pauli in PauliList(["XX", "YY", "ZZ", "XI", "IY", "ZI", "XZ"])],
    ],
)
def test_products_take_no_circuit_more_than_their_factors(labels):
    observables = [SparsePauliOp(label) for label in labels]
    readout = JointReadout.of(observables)
    together = PauliList([string.paulis[0] for string in readout.strings])
    assert len(together.group_commuting(qubit_wise=True)) == readout.num_bases
    assert len(PauliList(labels).group_commuting(qubit_wise=True)) == readout.num_bases
    for i, first in enumerate(labels):
        for j, second in enumerate(labels):
            if readout.products[i, j] >= 0:
                assert readout.strings[readout.products[i, j]].paulis[0] == Pauli(first).compose(second)


def test_too_many_strings_are_asked_for_without_their_products(monkeypatch, caplog):
    monkeypatch.setattr("qdeq_qiskit.backends.runtime.joint_readout._MAX_STRINGS", 5)
    readout = JointReadout.of([SparsePauliOp(label) for label in ("IIZ", "IZI", "ZII")])
    assert [string.paulis[0].to_label() for string in readout.strings] == ["IIZ", "IZI", "ZII"]
    assert "correlations between observables" in caplog.text
    arrays = answers(readout, shots_of_three_wires())
    covariance = readout.measurement(arrays, NONE, NONE.overhead(SHOTS), None).covariance
    assert np.array_equal(covariance, [np.diag(np.diag(each)) for each in covariance.numpy()])
    expected = arrays["stds"].T ** 2 * SHOTS / (SHOTS - 1)
    assert np.allclose(np.diagonal(covariance, axis1=1, axis2=2), expected, rtol=1e-12)


def test_an_observable_that_is_a_number_is_not_measured():
    readout = JointReadout.of([SparsePauliOp(["II"], [0.5])])
    ones = np.ones((1, 2))
    arrays = {"evs": ones, "stds": 0 * ones, "ensemble_standard_error": 0 * ones}
    measured = readout.measurement(arrays, NONE, NONE.overhead(SHOTS), None)
    assert measured.values.tolist() == [[0.5], [0.5]]
    assert not measured.covariance.any()


def test_a_single_shot_is_as_uncertain_as_can_be():
    readout = JointReadout.of([SparsePauliOp("IZ"), SparsePauliOp("ZI")])
    arrays = {"evs": np.ones((3, 1)), "stds": np.zeros((3, 1)), "ensemble_standard_error": np.zeros((3, 1))}
    covariance = readout.measurement(arrays, NONE, NONE.overhead(1), None).covariance
    assert covariance.tolist() == [[[1, 0], [0, 1]]]
