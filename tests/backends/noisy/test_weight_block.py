"""The noisy weight block backwards: its gradients, its blocks, its order."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from noisy_circuits import SOURCES, amplitude_model, noise_of
from qiskit.quantum_info import SuperOp
from qiskit_aer.noise import depolarizing_error, thermal_relaxation_error

from qdeq_qiskit.backends.noisy import pauli_blocks
from qdeq_qiskit.backends.noisy.pauli_transfer import noisy_steps
from qdeq_qiskit.backends.noisy.weight_block import WeightBlock
from qdeq_qiskit.backends.program import GateProgram, program_of
from qdeq_qiskit.circuits import random_layer

ONE = SuperOp(thermal_relaxation_error(50.0, 60.0, 5.0))
TWO = SuperOp(depolarizing_error(0.05, 2))


def program(num_qubits: int) -> GateProgram:
    circuit = random_layer(num_qubits, 14, 3)
    return program_of(circuit, list(circuit.parameters))


def block_of(num_qubits: int) -> WeightBlock:
    steps = noisy_steps(program(num_qubits), lambda name, qubits, duration: ONE if len(qubits) == 1 else TWO)
    return WeightBlock(steps, num_qubits, device=torch.device("cpu"), dtype=torch.float64)


def point(num_qubits: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(3, 4**num_qubits, dtype=torch.float64, generator=generator)
    angles = torch.randn(program(num_qubits).num_slots, dtype=torch.float64, generator=generator)
    return rows, angles.requires_grad_()


@pytest.mark.parametrize("num_qubits", [2, 5])
def test_gradients_are_those_of_finite_differences_to_second_order(num_qubits: int) -> None:
    block = block_of(num_qubits)
    rows, angles = point(num_qubits)
    probe = torch.randn(4**num_qubits, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def function(phi: torch.Tensor) -> torch.Tensor:
        return (block.pull_back(rows, phi) @ probe).square().sum()

    assert torch.autograd.gradcheck(function, angles)
    assert torch.autograd.gradgradcheck(function, angles)


def test_values_are_the_same_recorded_or_not_and_in_one_block_or_many(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, angles = point(5)
    many = block_of(5).pull_back(rows, angles)
    with torch.no_grad():
        assert torch.equal(block_of(5).pull_back(rows, angles), many)
    monkeypatch.setattr(pauli_blocks, "DENSE_WIRES", 5)
    one = block_of(5)
    assert torch.allclose(one.pull_back(rows, angles), many, rtol=0, atol=1e-12)
    phi = torch.autograd.grad(one.pull_back(rows, angles).square().sum(), angles)[0]
    assert torch.allclose(phi, torch.autograd.grad(many.square().sum(), angles)[0], rtol=0, atol=1e-10)


def test_a_block_without_rotations_and_one_without_gates_have_no_gradient_to_give() -> None:
    rows, _ = point(2)
    empty = WeightBlock([], 2, device=torch.device("cpu"), dtype=torch.float64)
    nothing = torch.zeros(0, dtype=torch.float64)
    assert torch.equal(empty.pull_back(rows, nothing), rows)
    circuit = random_layer(2, 14, 3)
    fixed = circuit.assign_parameters([0.1] * circuit.num_parameters)
    steps = noisy_steps(program_of(fixed, []), lambda name, qubits, duration: ONE if len(qubits) == 1 else TWO)
    block = WeightBlock(steps, 2, device=torch.device("cpu"), dtype=torch.float64)
    angles = torch.full((program(2).num_slots,), 0.1, dtype=torch.float64)
    expected = block_of(2).pull_back(rows, angles)
    assert torch.allclose(block.pull_back(rows, nothing), expected, rtol=0, atol=1e-12)


def test_the_noise_of_all_sources_makes_operators_smaller() -> None:
    from noisy_circuits import compiled_with

    model = amplitude_model()
    compiled, noise = compiled_with(model, noise_of(*SOURCES["depolarizing"]))
    steps = noisy_steps(compiled.suffix, noise.channel)
    block = WeightBlock(steps, 3, device=torch.device("cpu"), dtype=torch.float64)
    rows = torch.zeros(1, 64, dtype=torch.float64)
    rows[0, 3] = 1.0
    pulled = block.pull_back(rows, torch.zeros(compiled.suffix.num_slots, dtype=torch.float64))
    assert 0.3 < pulled.norm() < 0.99


def test_without_gradients_nothing_is_kept_of_the_rotations(monkeypatch: pytest.MonkeyPatch) -> None:
    """All outcomes of 8 wires before each of 100 rotations would be 13 GB."""
    monkeypatch.setattr(pauli_blocks, "DENSE_WIRES", 2)
    block, (rows, angles) = block_of(3), point(3)
    kept: list[int] = []
    evaluate = WeightBlock.evaluate

    def counting(self: WeightBlock, *args: Any, **options: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
        pulled, before = evaluate(self, *args, **options)
        kept.append(sum(tensor.untyped_storage().nbytes() for tensor in before))
        return pulled, before

    monkeypatch.setattr(WeightBlock, "evaluate", counting)
    recorded = block.pull_back(rows, angles)
    assert torch.equal(block.pull_back(rows, angles.detach()), recorded)
    assert kept[0] >= rows.nbytes * program(3).num_slots
    assert kept[1] == 0
