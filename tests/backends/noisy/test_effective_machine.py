"""Shots of the effective route: Aer's joint distribution, errors that are as large as they say, seeds, single rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from noisy_circuits import (
    MODELS,
    SOURCES,
    aer_probabilities,
    amplitude_model,
    compiled_angles,
    compiled_with,
    noise_of,
    random_point,
    tangled_model,
)
from qiskit.quantum_info import SparsePauliOp
from scipy.stats import chi2, chi2_contingency

from qdeq_qiskit.backends.noisy import AerMachine, EffectiveMachine, NoisyCircuit
from qdeq_qiskit.circuits import QNNCircuit

RECIPE = noise_of(*SOURCES["readout"], *SOURCES["amplitude_damping"])


def machine_of(model: QNNCircuit, *, shots: int | None, seed: int | None = 0) -> EffectiveMachine:
    compiled, noise = compiled_with(model, RECIPE)
    return EffectiveMachine(NoisyCircuit(model, compiled, noise), shots=shots, seed=seed)


def aer_of(machine: EffectiveMachine, model: QNNCircuit, *, shots: int | None, seed: int | None = 0) -> AerMachine:
    return AerMachine(machine.compiled, RECIPE.build(machine.compiled), shots=shots, seed=seed)


def source_angles(model: QNNCircuit, machine: EffectiveMachine, rows: int = 2, seed: int = 0) -> torch.Tensor:
    features, weight = random_point(model, rows, seed)
    inputs = torch.as_tensor(model.input_values(features.numpy()))
    values = torch.cat((inputs, weight.expand(rows, -1)), dim=1)
    return machine.compiled.source.angle_map.compile()(values)


@pytest.mark.parametrize("model", MODELS)
def test_joint_probabilities_are_those_of_aers_density_matrix_and_of_the_reference(model: str) -> None:
    qnn = MODELS[model]()
    machine = machine_of(qnn, shots=None)
    angles = source_angles(qnn, machine)
    found = machine.probabilities(angles)
    reference = aer_of(machine, qnn, shots=None).probabilities(angles)
    for one, other in zip(found, reference, strict=True):
        assert np.abs(one - other).max() < 1e-12
        assert np.abs(one.sum(axis=1) - 1).max() < 1e-12
    features, weight = random_point(qnn)
    group = machine.observables.groups[0]
    circuit = machine.compiled.circuit.assign_parameters(compiled_angles(qnn, machine.compiled, features, weight)[0])
    whole = aer_probabilities(circuit.compose(group.change), RECIPE.build(machine.compiled))
    expected = np.zeros(2 ** len(group.wires))
    for outcome, probability in enumerate(whole):
        bits = [outcome >> wire & 1 for wire in group.wires]
        expected[int("".join(map(str, bits)), 2)] += probability
    assert np.abs(found[0][0] - expected).max() < 1e-10


@pytest.mark.parametrize("model", MODELS)
def test_counts_are_distributed_as_aers_by_chi_squared(model: str) -> None:
    qnn, shots = MODELS[model](), 20_000
    machine = machine_of(qnn, shots=shots, seed=3)
    angles = source_angles(qnn, machine, rows=3)
    probabilities = machine.probabilities(angles)
    drawn = machine.counts(angles, shots)
    sampled = aer_of(machine, qnn, shots=shots, seed=4).counts(angles, shots)
    for group in range(len(probabilities)):
        for row in range(3):
            ours, theirs = drawn[group][row], sampled[group][row]
            assert ours.sum() == theirs.sum() == shots
            expected = shots * probabilities[group][row]
            kept = expected > 5
            for counts in (ours, theirs):
                statistic = ((counts - expected)[kept] ** 2 / expected[kept]).sum()
                assert chi2.sf(statistic, kept.sum() - 1) > 1e-3
            assert chi2_contingency(np.stack((ours, theirs))[:, kept]).pvalue > 1e-3


def test_values_and_covariance_are_those_of_repeated_runs() -> None:
    qnn = tangled_model()
    machine = machine_of(qnn, shots=50)
    angles = source_angles(qnn, machine)[:1].expand(4000, -1)
    measured = machine.run(angles)
    exact = machine_of(qnn, shots=None).run(angles[:1])
    assert torch.equal(exact.covariance, torch.zeros(1, 3, 3, dtype=torch.float64))
    scatter = torch.cov(measured.values.T)
    assert torch.allclose(measured.values.mean(0), exact.values[0], rtol=0, atol=5 * float(scatter.max().sqrt()) / 60)
    assert torch.allclose(measured.covariance.mean(0), scatter, rtol=0.1, atol=1e-3)


def test_commuting_observables_share_their_shots_and_others_do_not() -> None:
    qnn = amplitude_model()
    machine = machine_of(qnn, shots=40)
    assert machine.circuits_per_row == 1
    assert (machine.run(source_angles(qnn, machine)).covariance[:, 0, 1] != 0).any()
    tangled = machine_of(tangled_model(), shots=40)
    assert tangled.circuits_per_row == 2  # ZII and IXI with XXI apart: X is on a wire where Z is wanted
    assert len(tangled.observables.groups) == 2


def test_shots_of_a_call_override_those_of_the_machine_and_are_counted() -> None:
    qnn = tangled_model()
    machine = machine_of(qnn, shots=100)
    angles = source_angles(qnn, machine)
    few, many = machine.run(angles), machine.run(angles, shots=10_000)
    ratio = few.covariance.diagonal(dim1=1, dim2=2).sum() / many.covariance.diagonal(dim1=1, dim2=2).sum()
    assert 60 < float(ratio) < 160
    assert machine.rows_run == 4
    assert machine.shots_run == 2 * 2 * (100 + 10_000)
    once = machine.run(angles, shots=1)
    assert once.covariance.isfinite().all()
    assert (once.covariance.diagonal(dim1=1, dim2=2) > 0).all()


def test_a_seed_repeats_the_sequence_and_none_does_not() -> None:
    qnn = amplitude_model()
    for make in (machine_of, lambda *args, **options: aer_of(machine_of(qnn, shots=None), *args, **options)):
        runs = [make(qnn, shots=100, seed=seed) for seed in (5, 5, 6)]
        angles = source_angles(qnn, machine_of(qnn, shots=None))
        first, second, third = ([machine.run(angles).values for _ in range(2)] for machine in runs)
        assert torch.equal(first[0], second[0])
        assert torch.equal(first[1], second[1])
        assert not torch.equal(first[0], first[1])
        assert not torch.equal(first[0], third[0])
    free = [machine_of(qnn, shots=100, seed=None).run(angles).values for _ in range(2)]
    assert not torch.equal(*free)


def test_rows_that_are_not_finite_are_nan_and_not_run() -> None:
    qnn = amplitude_model()
    machine = machine_of(qnn, shots=100)
    angles = source_angles(qnn, machine, rows=3)
    angles[1, 0] = torch.nan
    measured = machine.run(angles)
    assert measured.values.isnan().any(dim=1).tolist() == [False, True, False]
    assert measured.covariance[1].isnan().all()
    assert machine.rows_run == 2
    nothing = machine.run(angles[:0])
    assert nothing.values.shape == (0, 3)


def test_rows_with_weights_of_their_own_get_their_own_operators() -> None:
    qnn = amplitude_model()
    machine = machine_of(qnn, shots=None)
    rows = torch.cat([source_angles(qnn, machine, seed=seed) for seed in range(6)])
    mixed = machine.run(rows).values
    alone = torch.cat([machine_of(qnn, shots=None).run(row.unsqueeze(0)).values for row in rows])
    assert torch.allclose(mixed, alone, rtol=0, atol=1e-13)


def test_no_shots_are_refused() -> None:
    with pytest.raises(ValueError, match="shots = 0: a circuit needs at least one shot"):
        machine_of(amplitude_model(), shots=0)


def test_observables_without_any_pauli_need_no_circuit() -> None:
    model = amplitude_model()
    constant = QNNCircuit(
        model.circuit,
        model.input_parameters,
        model.weight_parameters,
        [SparsePauliOp("III", 0.7)],
        num_amplitudes=model.num_amplitudes,
    )
    machine = machine_of(constant, shots=10)
    measured = machine.run(source_angles(constant, machine))
    assert torch.equal(measured.values, torch.full((2, 1), 0.7, dtype=torch.float64))
    assert not measured.covariance.any()
    assert machine.shots_run == 0
