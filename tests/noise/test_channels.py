"""The algebra of channels: scaling and twirling in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import textbook
from qiskit.quantum_info import PTM, Choi, Kraus, SuperOp, random_quantum_channel

from qdeq_qiskit.noise import channels


def random_superop(num_qubits: int, seed: int) -> np.ndarray:
    return np.asarray(SuperOp(random_quantum_channel(2**num_qubits, 2**num_qubits, seed=seed)).data)


@pytest.mark.parametrize("num_qubits", [1, 2])
@pytest.mark.parametrize("times", [0, 1, 2, 5])
def test_at_an_integer_the_scaled_channel_is_the_channel_so_many_times(num_qubits: int, times: int) -> None:
    channel = SuperOp(random_superop(num_qubits, 3))
    np.testing.assert_allclose(channels.repeated(channel.data, times), channel.power(times).data, atol=1e-12)


@pytest.mark.parametrize("factor", [0.3, 1.5, 2.75])
def test_in_between_it_is_applied_once_more_with_the_remaining_probability(factor: float) -> None:
    channel = SuperOp(random_superop(1, 4))
    whole, rest = int(factor), factor - int(factor)
    fewer, more = channel.power(whole).data, channel.power(whole + 1).data
    scaled = channels.repeated(channel.data, factor)
    np.testing.assert_allclose(scaled, (1 - rest) * fewer + rest * more, atol=1e-12)
    assert SuperOp(scaled).is_cptp()


@pytest.mark.parametrize("num_qubits", [1, 2])
def test_the_twirl_keeps_the_diagonal_of_the_pauli_transfer_matrix_only(num_qubits: int) -> None:
    superop = random_superop(num_qubits, 5)
    expected = np.diag(np.diag(PTM(SuperOp(superop)).data))
    np.testing.assert_allclose(PTM(SuperOp(channels.pauli_twirl(superop))).data, expected, atol=1e-14)
    np.testing.assert_allclose(channels.transfer_diagonal(superop), np.diag(expected).real, atol=1e-14)


@pytest.mark.parametrize("num_qubits", [1, 2])
def test_depolarizing_shrinks_every_pauli_but_the_identity(num_qubits: int) -> None:
    for factor in (1, 3):
        ptm = PTM(SuperOp(channels.depolarizing(0.04 * factor, num_qubits))).data
        expected = np.diag([1.0, *[1 - 0.04 * factor] * (4**num_qubits - 1)])
        np.testing.assert_allclose(ptm, expected, atol=1e-15)


def test_damping_scales_as_its_duration_does() -> None:
    gamma = 0.07
    thrice = np.linalg.matrix_power(channels.amplitude_damping(gamma), 3)
    np.testing.assert_allclose(channels.amplitude_damping(1 - (1 - gamma) ** 3), thrice, atol=1e-15)


@pytest.mark.parametrize("num_qubits", [1, 2])
def test_kraus_operators_rebuild_the_channel_at_full_precision(num_qubits: int) -> None:
    for superop in (
        random_superop(num_qubits, 6),
        channels.on_each(channels.relaxation(1e-4, 1.5e-4, 2e-8), num_qubits),
    ):
        rebuilt = channels.from_kraus(channels.kraus_operators(superop))
        np.testing.assert_allclose(rebuilt, superop, atol=3e-15)


def test_pauli_probabilities_are_those_of_the_mixture_and_others_are_no_mixture() -> None:
    given = {"II": 0.9, "XY": 0.04, "ZI": 0.05, "YY": 0.01}
    letters = textbook.PAULIS
    operators = [np.sqrt(p) * np.kron(letters[label[0]], letters[label[1]]) for label, p in given.items()]
    found = channels.pauli_probabilities(np.asarray(SuperOp(Kraus(operators)).data))
    assert found is not None
    assert {label: p for label, p in found.items() if p > 1e-12} == pytest.approx(given)
    assert channels.pauli_probabilities(channels.amplitude_damping(1e-6)) is None


def test_channels_side_by_side_are_in_qiskits_order() -> None:
    first, second = random_superop(1, 7), random_superop(1, 8)
    expected = SuperOp(second).tensor(SuperOp(first)).data
    np.testing.assert_allclose(channels.tensor([first, second]), expected, atol=1e-15)


def test_every_channel_is_one() -> None:
    for superop in (
        channels.depolarizing(1.0, 2),
        channels.amplitude_damping(1.0),
        channels.phase_damping(0.3),
        channels.relaxation(1.0, 2.0, 0.1),
        channels.relaxation(1.0, 0.1, 50.0),
        channels.rotation(textbook.PAULIS["Y"], 0.4),
    ):
        assert Choi(SuperOp(superop)).is_cptp()
