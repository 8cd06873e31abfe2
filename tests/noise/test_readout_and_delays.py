"""Readout errors and relaxation during delays, against independently built matrices and sampled counts."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from functools import reduce
from types import SimpleNamespace

import numpy as np
import pytest
import textbook
from qiskit import QuantumCircuit
from qiskit.quantum_info import DensityMatrix, Kraus
from qiskit.transpiler import Target
from qiskit_aer import AerSimulator
from scipy.stats import chisquare
from textbook import compiled, evolved, random_circuit

from qdeq_qiskit.noise import CircuitNoise, NoiseRecipe

UP, DOWN = 0.03, 0.11
DEPOLARIZING = {"kind": "depolarizing", "one_qubit": 0.01, "two_qubit": 0.05}


def read_wrongly(probabilities: np.ndarray, matrices: list[np.ndarray]) -> np.ndarray:
    """What is measured: the assignment matrices' tensor product, the first qubit rightmost."""
    return reduce(np.kron, reversed(matrices)) @ probabilities


def counts_on_aer(circuit: QuantumCircuit, noise: CircuitNoise, shots: int) -> np.ndarray:
    measured = circuit.copy()
    measured.measure_all()
    simulator = AerSimulator(method="density_matrix", noise_model=noise.to_aer())
    counts = simulator.run(measured, shots=shots, seed_simulator=8).result().get_counts()
    return np.array([counts.get(format(index, f"0{circuit.num_qubits}b"), 0) for index in range(2**circuit.num_qubits)])


def test_counts_follow_the_noisy_state_times_the_assignment_matrix() -> None:
    circuit = random_circuit(21)
    recipe = NoiseRecipe(sources=[DEPOLARIZING, {"kind": "readout", "error": [UP, DOWN]}])
    noise = recipe.build(compiled(circuit))
    matrix = np.array([[1 - UP, DOWN], [UP, 1 - DOWN]])
    state = evolved(circuit, lambda name, n: None if name == "rz" else textbook.depolarizing({1: 0.01, 2: 0.05}[n], n))
    expected = read_wrongly(state.probabilities(), [matrix] * 3)
    np.testing.assert_allclose(
        read_wrongly(state.probabilities(), [noise.assignment(wire) for wire in range(3)]), expected, atol=1e-15
    )
    shots = 200_000
    counts = counts_on_aer(circuit, noise, shots)
    assert chisquare(counts, shots * expected).pvalue > 1e-3
    transposed = read_wrongly(state.probabilities(), [matrix.T / matrix.T.sum(axis=0)] * 3)
    assert chisquare(counts, shots * transposed).pvalue < 1e-9, "the test must see which way the matrix goes"


def test_one_number_is_the_same_error_both_ways_and_readouts_compose_in_order() -> None:
    circuit = random_circuit(22)
    sources = [{"kind": "readout", "error": 0.1}, {"kind": "readout", "error": [UP, DOWN]}]
    noise = NoiseRecipe(sources=sources).build(compiled(circuit))
    first, second = np.array([[0.9, 0.1], [0.1, 0.9]]), np.array([[1 - UP, DOWN], [UP, 1 - DOWN]])
    np.testing.assert_allclose(noise.assignment(2), second @ first, atol=1e-15)


def test_a_scaled_readout_error_has_its_probabilities_scaled() -> None:
    noise = NoiseRecipe(sources=[{"kind": "readout", "error": [UP, DOWN]}], scale=2.5).build(
        compiled(random_circuit(0))
    )
    np.testing.assert_allclose(noise.assignment(0), [[1 - 2.5 * UP, 2.5 * DOWN], [2.5 * UP, 1 - 2.5 * DOWN]])


@pytest.mark.parametrize("t2", [60e-6, 150e-6])
@pytest.mark.parametrize("unit", ["s", "ns", "dt"])
def test_a_delay_relaxes_for_as_long_as_it_lasts(unit: str, t2: float) -> None:
    t1, seconds, dt = 80e-6, 3e-6, 4e-9
    circuit = QuantumCircuit(2)
    circuit.ry(1.1, 0)
    circuit.sx(1)
    circuit.delay({"s": seconds, "ns": seconds * 1e9, "dt": round(seconds / dt)}[unit], 0, unit=unit)
    circuit.cx(0, 1)
    noise = CircuitNoise(2, idle={0: (t1, t2), 1: (t1, t2)}, dt=dt).scaled(2)

    state = DensityMatrix.from_label("00")
    state = state.evolve(circuit.data[0].operation, [0]).evolve(circuit.data[1].operation, [1])
    state = state.evolve(Kraus(textbook.relaxation(t1, t2, 2 * seconds)), [0])
    expected = state.evolve(circuit.data[3].operation, [0, 1]).data

    channel = noise.channel("delay", (0,), seconds)
    relaxed = Kraus(textbook.relaxation(t1, t2, 2 * seconds))
    np.testing.assert_allclose(channel.data, np.asarray(_superop(relaxed)), atol=1e-12)
    circuit.save_density_matrix()
    simulator = AerSimulator(method="density_matrix", noise_model=noise.to_aer())
    actual = np.asarray(simulator.run(circuit).result().data()["density_matrix"])
    np.testing.assert_allclose(actual, expected, atol=1e-10, rtol=0)


def _superop(kraus: Kraus) -> np.ndarray:
    return sum(np.kron(operator.conj(), operator) for operator in kraus.data)


def test_two_relaxations_at_once_have_their_rates_added() -> None:
    noise = CircuitNoise(2, idle={1: (80e-6, 60e-6)}).then(CircuitNoise(2, idle={1: (50e-6, 100e-6)}))
    both = textbook.in_turn(textbook.relaxation(80e-6, 60e-6, 2e-6), textbook.relaxation(50e-6, 100e-6, 2e-6))
    expected = sum(np.kron(operator.conj(), operator) for operator in both)
    np.testing.assert_allclose(noise.channel("delay", (1,), 2e-6).data, expected, atol=1e-14)


def test_a_delay_of_unknown_duration_is_refused_where_its_wire_relaxes() -> None:
    noise = CircuitNoise(3, idle={2: (1e-4, 1e-4)}, errors={("delay", (1,)): np.eye(4)})
    with pytest.raises(ValueError, match="the delay on wire 2 has no duration in seconds"):
        noise.channel("delay", (2,))
    assert noise.channel("delay", (1,)) is None
    assert noise.channel("delay", (0,), 1e-6) is None
    assert noise.scaled(0).channel("delay", (2,), 1e-6) is None
    circuit = QuantumCircuit(3)
    circuit.delay(5, 2, unit="dt")
    circuit.save_density_matrix()
    with pytest.raises(ValueError, match="the delay of 5 dt on wire 2: how long dt is, is not known"):
        AerSimulator(method="density_matrix", noise_model=noise.to_aer()).run(circuit).result()


def test_the_time_step_of_delays_is_the_processors() -> None:
    circuit = QuantumCircuit(1)
    machine = SimpleNamespace(circuit=circuit, physical=(0,), target=Target(num_qubits=1, dt=4e-9))
    assert NoiseRecipe.load("readout").build(machine).dt == 4e-9
    assert NoiseRecipe.load("readout").build(compiled(circuit)).dt is None


def test_a_twirl_leaves_readout_and_waiting_as_they_are() -> None:
    damping = np.asarray(_superop(Kraus(textbook.amplitude_damping(0.2))))
    matrix = np.array([[1 - UP, DOWN], [UP, 1 - DOWN]])
    errors = {("delay", (0,)): damping, ("sx", (0,)): damping}
    noise = CircuitNoise(1, errors=errors, assignments={0: matrix}, idle={0: (80e-6, 60e-6)}).twirled()
    relaxing = np.asarray(_superop(Kraus(textbook.relaxation(80e-6, 60e-6, 1e-6))))
    np.testing.assert_allclose(noise.channel("delay", (0,), 1e-6).data, relaxing @ damping, atol=1e-14)
    np.testing.assert_array_equal(noise.assignment(0), matrix)
    assert np.abs(noise.channel("sx", (0,)).data - damping).max() > 0.05


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda noise: pickle.loads(pickle.dumps(noise))])
def test_noise_can_be_copied_and_pickled_and_stays_read_only(copied: Callable[[CircuitNoise], CircuitNoise]) -> None:
    relaxing = np.diag([1.0, 0.9, 0.9, 1.0]).astype(complex)
    noise = CircuitNoise(
        2, {("x", (1,)): relaxing}, {0: np.array([[0.9, 0.2], [0.1, 0.8]])}, {1: (5e-5, 4e-5)}, frozenset({"x"}), 1e-9
    )
    again = copied(noise)
    assert np.array_equal(again.channel("x", (1,)).data, relaxing)
    assert np.array_equal(again.assignment(0), noise.assignment(0))
    assert (again.num_qubits, again.idle, again.names, again.dt) == (2, {1: (5e-5, 4e-5)}, frozenset({"x"}), 1e-9)
    with pytest.raises(TypeError):
        again.errors["x", (0,)] = relaxing  # type: ignore[index]
