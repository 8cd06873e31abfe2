"""Mitigation recipes, their costs, and the inverted assignment, against dense matrices on outcome distributions."""

from functools import reduce

import numpy as np
import pytest
from pydantic import ValidationError
from qiskit.quantum_info import Operator, SparsePauliOp, random_density_matrix

from qdeq_qiskit.noise import CircuitNoise, MitigationRecipe, inverted_assignment


def assignments(n, seed=0):
    """(2, 2) a wire, P(measured | prepared)."""
    errors = np.random.default_rng(seed).uniform(0, 0.3, (n, 2))
    return {wire: np.array([[1 - e0, e1], [e0, 1 - e1]]) for wire, (e0, e1) in enumerate(errors)}


def read_value(observable, state, matrices):
    """What a readout with errors gives: each Pauli from the outcome distribution in its own basis."""
    n = observable.num_qubits
    basis = {"X": np.array([[1, 1], [1, -1]]) / np.sqrt(2), "Y": np.array([[1, -1j], [1, 1j]]) / np.sqrt(2)}
    # Qiskit's most significant factor is its last qubit.
    confusion = reduce(np.kron, [matrices[wire] for wire in reversed(range(n))])
    total = 0
    for label, coefficient in observable.to_list():
        rotation = reduce(np.kron, [basis.get(pauli, np.eye(2)) for pauli in label])
        distribution = confusion @ np.real(np.diag(rotation @ state @ rotation.conj().T))
        signs = reduce(np.kron, [np.ones(2) if pauli == "I" else np.array([1, -1]) for pauli in label])
        total += coefficient.real * (signs @ distribution)
    return total


@pytest.mark.parametrize("seed", range(3))
def test_inverted_observables_read_with_errors_have_the_values_of_the_given_ones_read_without(seed):
    matrices = assignments(3, seed)
    observables = [
        SparsePauliOp("ZII"),
        SparsePauliOp("IXY"),
        SparsePauliOp(["ZZZ", "III", "XIX"], [0.5, 0.25, -2.0]),
    ]
    inverted = inverted_assignment(observables, CircuitNoise(3, assignments=matrices))
    state = random_density_matrix(8, seed=seed).data
    for observable, corrected in zip(observables, inverted, strict=True):
        ideal = np.trace(Operator(observable).data @ state).real
        assert abs(read_value(observable, state, matrices) - ideal) > 1e-3
        assert read_value(corrected, state, matrices) == pytest.approx(ideal, abs=1e-12)


def test_inverted_observables_are_the_dense_inverse_on_the_outcome_distribution():
    matrices = assignments(2)
    confusion = np.kron(matrices[1], matrices[0])
    (corrected,) = inverted_assignment([SparsePauliOp("ZZ")], CircuitNoise(2, assignments=matrices))
    diagonal = np.real(np.diag(Operator(corrected).data))
    assert np.allclose(diagonal, np.array([1, -1, -1, 1]) @ np.linalg.inv(confusion), rtol=0, atol=1e-13)


def test_an_ideal_readout_of_all_that_is_observed_leaves_nothing_to_invert():
    observables = [SparsePauliOp(["XZ", "II"], [0.5, 2.0])]
    with pytest.raises(ValueError, match="no readout that counts errs; leave readout out"):
        inverted_assignment(observables, CircuitNoise(2))
    elsewhere = CircuitNoise(3, assignments={2: np.array([[0.9, 0.1], [0.1, 0.9]])})
    with pytest.raises(ValueError, match="no readout that counts errs"):
        inverted_assignment([SparsePauliOp("IXZ")], elsewhere)


def test_a_readout_no_better_than_chance_is_refused():
    noise = CircuitNoise(1, assignments={0: np.array([[0.6, 0.7], [0.4, 0.3]])})
    with pytest.raises(ValueError, match=r"wire 0 reads 0 as 1 with probability 0\.4 and 1 as 0 with 0\.7"):
        inverted_assignment([SparsePauliOp("Z")], noise)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("none", {}),
        ("", {}),
        ("trex", {"readout": "trex"}),
        ("matrix, zne", {"readout": "matrix", "zne": {}}),
        ("trex+zne+twirling+dd", {"readout": "trex", "zne": {}, "twirling": {}, "dynamical_decoupling": "XX"}),
    ],
)
def test_short_names_are_recipes(names, expected):
    assert MitigationRecipe.parse(names) == MitigationRecipe.model_validate(expected)
    assert MitigationRecipe.model_validate(names) == MitigationRecipe.parse(names)


def test_a_description_can_be_read_back_and_shows_what_differs():
    for names in ("none", "matrix", "trex+zne+twirling+dd"):
        assert MitigationRecipe.parse(names).describe() == names
        assert MitigationRecipe.parse(names).is_none == (names == "none")
    changed = MitigationRecipe(zne={"noise_factors": (1, 3), "extrapolator": "exponential"}, dynamical_decoupling="XY4")
    assert changed.describe() == "zne(exponential, ×1/3)+dd(XY4)"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("rex", "there is no mitigation 'rex'; there are none, matrix, trex, zne, twirling, dd"),
        ("trex+matrix", "asks for readout 'trex' and 'matrix'; choose one"),
        ({"readout": "m3"}, "'none', 'matrix' or 'trex'"),
        ({"pec": {}}, "Extra inputs are not permitted"),
        ({"zne": {"amplifier": "pea"}}, "pea amplifies a layer's noise as learned on a processor"),
        ({"zne": {"noise_factors": [1, 2, 3]}}, "at random, unseeded"),
        ({"zne": {"noise_factors": [0.5, 3]}}, "at least 1 and increasing"),
        ({"zne": {"noise_factors": [3, 1]}}, "at least 1 and increasing"),
        ({"zne": {"noise_factors": [1, 3], "extrapolator": "polynomial_degree_2"}}, "needs at least 3 noise_factors"),
        ({"dynamical_decoupling": "XZ"}, "'XX', 'XpXm' or 'XY4'"),
        ({"randomizations": 0}, "greater than or equal to 1"),
    ],
)
def test_unknown_and_contradictory_options_are_refused_by_name(recipe, message):
    with pytest.raises(ValidationError, match=message):
        MitigationRecipe.model_validate(recipe)


@pytest.mark.parametrize(
    ("names", "circuits", "shots", "calibration", "calibration_shots"),
    [
        ("none", 3, 3 * 1000, 0, 0),
        ("matrix", 3, 3 * 1000, 0, 0),
        ("trex", 3 * 32, 3 * 32 * 32, 32, 32 * 32),
        ("zne", 3 * 3, 9 * 1000, 0, 0),
        ("zne+twirling", 9 * 32, 9 * 32 * 32, 0, 0),
        ("trex+zne+twirling+dd", 9 * 32, 9 * 32 * 32, 32, 32 * 32),
    ],
)
def test_an_evaluation_costs_bases_times_factors_times_random_circuits(
    names, circuits, shots, calibration, calibration_shots
):
    cost = MitigationRecipe.parse(names).overhead(1000, num_bases=3)
    assert (cost.circuits_per_row, cost.shots_per_row) == (circuits, shots)
    assert (cost.calibration_circuits, cost.calibration_shots) == (calibration, calibration_shots)
    assert cost.circuit_factor == circuits / 3
    assert cost.shot_factor == shots / 3000
    assert cost.circuits(5, jobs=2) == 5 * circuits + 2 * calibration
    assert cost.total_shots(5, jobs=2) == 5 * shots + 2 * calibration_shots


def test_fewer_shots_than_random_circuits_are_one_each():
    cost = MitigationRecipe(readout="trex", randomizations=64).overhead(10)
    assert (cost.randomizations, cost.shots_per_circuit, cost.circuits_per_row) == (10, 1, 10)


@pytest.mark.parametrize(("shots", "num_bases"), [(0, 1), (-3, 1), (100, 0)])
def test_no_shots_have_no_cost(shots, num_bases):
    with pytest.raises(ValueError, match=f"must be at least 1, not {shots} and {num_bases}"):
        MitigationRecipe.parse("trex").overhead(shots, num_bases=num_bases)
