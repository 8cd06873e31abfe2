"""States of noisy encoders in Pauli coordinates, against Aer's density matrices and finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from noisy_circuits import SOURCES, amplitude_model, compiled_angles, compiled_with, layer_of, noise_of, random_point
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import Operator, Pauli
from qiskit_aer import AerSimulator

from qdeq_qiskit.backends.noisy import EffectiveMachine, prepared_state
from qdeq_qiskit.backends.noisy.noisy_circuit import NoisyCircuit
from qdeq_qiskit.backends.noisy.prepared_state import PreparedState
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, z_readout


def state_of(circuit: NoisyCircuit) -> PreparedState:
    return PreparedState(circuit.encoder, circuit.num_wires, device=torch.device("cpu"), dtype=torch.float64)


def aer_coordinates(prefix: QuantumCircuit, noise: object) -> np.ndarray:
    """Tr(P ρ) of all strings, wire 0 first."""
    run = prefix.copy()
    run.save_density_matrix()
    data = AerSimulator(method="density_matrix", noise_model=noise.to_aer()).run(run).result().data()
    rho = np.asarray(data["density_matrix"])
    labels = itertools.product("IXYZ", repeat=prefix.num_qubits)
    return np.array([np.trace(Operator(Pauli("".join(label)[::-1])).data @ rho).real for label in labels])


def before_the_barrier(circuit: QuantumCircuit) -> QuantumCircuit:
    prefix = circuit.copy_empty_like()
    for instruction in circuit.data:
        if instruction.operation.name == "barrier":
            return prefix
        prefix.append(instruction)
    return prefix


def padded_model() -> QNNCircuit:
    """Seven amplitudes on the last three of five wires; the others wait for the ansatz."""
    theta = ParameterVector("t", 1)
    ansatz = QuantumCircuit(5)
    ansatz.rx(theta[0], 0)
    ansatz.cz(0, 4)
    return QNNCircuit.compose(amplitude_encoder(5, 7), ansatz, z_readout(5), num_amplitudes=7)


@pytest.mark.parametrize("source", ["depolarizing", "thermal_relaxation", "over_rotation"])
@pytest.mark.parametrize("make", [lambda: amplitude_model(3), lambda: amplitude_model(5), padded_model])
def test_the_state_is_that_of_aers_density_matrix(make: object, source: str) -> None:
    model = make()
    compiled, noise = compiled_with(model, noise_of(*SOURCES[source]))
    features, weight = random_point(model)
    state = state_of(NoisyCircuit(model, compiled, noise))
    angles = compiled_angles(model, compiled, features, weight)
    found = state.state(torch.as_tensor(angles[:, : compiled.prefix.num_slots]).T)
    operators = torch.eye(4**compiled.num_qubits, dtype=torch.float64)
    found = state.coordinates(operators) @ found
    for row in range(len(features)):
        circuit = before_the_barrier(compiled.circuit.assign_parameters(angles[row]))
        assert np.abs(found[:, row].numpy() - aer_coordinates(circuit, noise)).max() < 1e-10


def test_real_trees_with_pauli_noise_reach_the_strings_with_even_y_only() -> None:
    model = amplitude_model(4)
    compiled, noise = compiled_with(model, noise_of(*SOURCES["depolarizing"]))
    assert state_of(NoisyCircuit(model, compiled, noise)).size == 136
    compiled, noise = compiled_with(model, noise_of(*SOURCES["over_rotation"]))
    assert state_of(NoisyCircuit(model, compiled, noise)).size == 256


@pytest.mark.parametrize("make", [lambda: amplitude_model(3), lambda: amplitude_model(5), padded_model])
def test_tangents_and_gradients_are_derivatives(make: object) -> None:
    model = make()
    compiled, noise = compiled_with(model, noise_of(*SOURCES["thermal_relaxation"]))
    state = state_of(NoisyCircuit(model, compiled, noise))
    generator = torch.Generator().manual_seed(0)
    angles = torch.randn(compiled.prefix.num_slots, 2, dtype=torch.float64, generator=generator)
    along = torch.randn(compiled.prefix.num_slots, 2, 2, dtype=torch.float64, generator=generator)
    value, tangents = state.state_and_tangents(angles, along)
    assert torch.allclose(value, state.state(angles), rtol=0, atol=1e-13)
    for column in range(2):
        step = 1e-5 * along[:, column]
        slope = (state.state(angles + step) - state.state(angles - step)) / 2e-5
        assert torch.allclose(tangents[:, column], slope, rtol=0, atol=1e-8)
    probe = torch.randn(state.size, 2, dtype=torch.float64, generator=generator)
    leaf = angles.clone().requires_grad_()
    (gradient,) = torch.autograd.grad((probe * state.state(leaf)).sum(), leaf)
    expected = (probe.unsqueeze(1) * tangents).sum(0)  # along two directions
    assert torch.allclose((gradient.unsqueeze(1) * along).sum(0), expected, rtol=0, atol=1e-10)


def test_samples_do_not_see_one_another_however_many_there_are() -> None:
    model = amplitude_model(4)
    compiled, noise = compiled_with(model, noise_of(*SOURCES["depolarizing"]))
    state = state_of(NoisyCircuit(model, compiled, noise))
    angles = torch.randn(
        compiled.prefix.num_slots, 2500, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    whole = state.state(angles)
    assert torch.allclose(whole[:, 2400:2401], state.state(angles[:, 2400:2401]), rtol=0, atol=1e-13)
    tangents = state.state_and_tangents(angles, angles.unsqueeze(1))[1]
    alone = state.state_and_tangents(angles[:, :1], angles[:, :1].unsqueeze(1))[1]
    assert torch.allclose(tangents[:, :, :1], alone, rtol=0, atol=1e-13)


def test_slow_states_are_announced_once_before_they_are_computed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    model = amplitude_model(2)
    layer, _ = layer_of(model, noise_of(*SOURCES["depolarizing"]))
    features = torch.randn(100, 4, dtype=torch.float64)
    layer(features)
    assert not caplog.records
    monkeypatch.setattr(prepared_state, "_FAST_ELEMENTS", 100 * layer._encoder.prepared._widest)
    layer(features)
    assert not caplog.records  # it is fast after all
    monkeypatch.setattr(prepared_state, "_SLOW_SECONDS", 0.0)
    layer(features[:99])
    assert not caplog.records  # so few are not even timed
    for _ in range(2):
        layer(features)
    (record,) = caplog.records
    assert "the encoder entangles 2 wires: states of 100 samples take about" in record.getMessage()
    caplog.clear()
    layer, _ = layer_of(model, noise_of(*SOURCES["depolarizing"]))
    bound = layer.bind(features, torch.eye(4, dtype=torch.float64)[:, :3])
    bound.value_and_jacobian(torch.zeros(100, 3, dtype=torch.float64))
    machine = EffectiveMachine(layer.circuit, shots=10)
    angles = torch.zeros(100, len(machine.rules), dtype=torch.float64)
    angles[:, 0] = torch.linspace(0, 1, 100)  # the encoder's first one
    machine.run(angles)
    assert [("3 directions" in record.getMessage()) for record in caplog.records] == [True, False]


def test_an_encoder_without_gates_prepares_the_first_basis_state() -> None:
    state = PreparedState([], 2, device=torch.device("cpu"), dtype=torch.float64)
    operators = torch.as_tensor(np.random.default_rng(0).normal(size=(3, 16)))
    value = state.coordinates(operators) @ state.state(torch.zeros(0, 4, dtype=torch.float64))
    zz = [0, 3, 12, 15]
    assert torch.allclose(value, operators[:, zz].sum(1, keepdim=True).expand(-1, 4))
