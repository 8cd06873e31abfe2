"""Gates and channels as Pauli transfer matrices, against Qiskit's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from noisy_circuits import tangled_model
from qiskit.quantum_info import PTM, Operator, SuperOp, random_quantum_channel, random_unitary
from scipy.linalg import expm

from qdeq_qiskit.backends.noisy.pauli_transfer import (
    Step,
    Turn,
    channel_transfer,
    noisy_steps,
    on_wires,
    paired,
    unitary_transfer,
    without_trailing,
)
from qdeq_qiskit.backends.noisy.weight_block import WeightBlock
from qdeq_qiskit.backends.program import generator, program_of

CHANNELS = {1: SuperOp(random_quantum_channel(2, 2, seed=1)), 2: SuperOp(random_quantum_channel(4, 4, seed=2))}


def in_wire_order(channel: SuperOp) -> np.ndarray:
    """Qiskit's transfer matrix, its first qubit least significant, with wire 0 most significant."""
    wires = channel.num_qubits
    matrix = np.real(PTM(channel).data).reshape((4,) * (2 * wires))
    order = [*range(wires)[::-1], *range(wires, 2 * wires)[::-1]]
    return matrix.transpose(order).reshape(4**wires, 4**wires)


@pytest.mark.parametrize("num_qubits", [1, 2])
def test_unitaries_and_channels_have_qiskits_transfer_matrices(num_qubits: int) -> None:
    unitary = random_unitary(2**num_qubits, seed=3)
    expected = np.real(PTM(SuperOp(unitary)).data)
    assert np.abs(unitary_transfer(unitary.data) - expected).max() < 1e-12
    # Both count the last qubit as the most significant one.
    assert np.abs(channel_transfer(CHANNELS[num_qubits]) - np.real(PTM(CHANNELS[num_qubits]).data)).max() < 1e-12


def test_a_map_that_is_no_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="no quantum channel"):
        channel_transfer(SuperOp(1j * np.eye(4)))


@pytest.mark.parametrize("pauli", ["x", "y", "z", "zx", "yi", "ixy"])
def test_a_rotation_turns_pairs_of_strings(pauli: str) -> None:
    matrix = np.eye(1)
    for letter in pauli:
        matrix = np.kron(matrix, {"i": np.eye(2), **{p: generator("r" + p) for p in "xyz"}}[letter])
    expected = unitary_transfer(expm(-0.35j * matrix))
    found = np.zeros_like(expected)
    stay, first, second = paired(pauli)
    found[stay, stay] = 1
    found[first, first] = found[second, second] = np.cos(0.7)
    found[first, second], found[second, first] = -np.sin(0.7), np.sin(0.7)
    assert np.abs(found - expected).max() < 1e-12


def test_a_circuit_with_channels_is_qiskits_composition_of_both() -> None:
    circuit = tangled_model().circuit
    program = program_of(circuit, list(circuit.parameters))
    steps = noisy_steps(program, lambda name, qubits, duration: CHANNELS[len(qubits)])
    angles = torch.randn(program.num_slots, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    whole = SuperOp(np.eye(4**3))
    for operation in program.operations:
        matrix = operation.matrix
        if operation.slot is not None:
            matrix = expm(-0.5j * float(angles[operation.slot]) * generator(operation.name))
        whole = whole.compose(SuperOp(Operator(matrix)), qargs=list(operation.wires[::-1]))
        whole = whole.compose(CHANNELS[len(operation.qubits)], qargs=list(operation.qubits))
    block = WeightBlock(steps, 3, device=torch.device("cpu"), dtype=torch.float64)
    found = block.pull_back(torch.eye(64, dtype=torch.float64), angles)
    assert np.abs(found.numpy() - in_wire_order(whole)).max() < 1e-12


def test_what_can_wait_until_after_the_encoder_is_told_from_what_cannot() -> None:
    kick, mix = np.diag([1.0, 0.9, 0.8, 0.7]), np.eye(16)
    turn = Step((0,), (Turn("y", 0),), kick)
    steps = [Step((0,), (), kick), turn, Step((1,), (), kick), Step((0, 1), (), mix), Step((1,), (Turn("x", 1),))]
    kept, waiting = without_trailing(steps)
    assert kept == steps  # the last rotation hangs on all of them
    kept, waiting = without_trailing(steps[:4])
    assert kept == [steps[0], Step((0,), turn.turns)]
    assert [step.wires for step in waiting] == [(0,), (1,), (0, 1)]
    assert kept[1].transfer is None
    assert waiting[0].transfer is kick


def test_a_matrix_acts_on_its_wires_of_an_array() -> None:
    generator_ = np.random.default_rng(0)
    matrix, array = generator_.normal(size=(16, 16)), generator_.normal(size=(64, 5))
    swapped = matrix.reshape(4, 4, 4, 4).transpose(1, 0, 3, 2).reshape(16, 16)
    expected = np.kron(np.eye(4), swapped) @ array
    assert np.allclose(on_wires(matrix, (2, 7), array, (3, 7, 2)), expected)
