"""Backends with noise as recipes: which route they take, what they refuse, what they say."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import BackendEstimatorV2
from qiskit_aer import AerSimulator

from qdeq_qiskit import recipes
from qdeq_qiskit.backends import AnyBackend, Backend, ExactLayer, NoisyLayer, SampledLayer, load_backend
from qdeq_qiskit.backends.machine import EstimatorMachine
from qdeq_qiskit.backends.noisy import AerMachine, EffectiveMachine
from qdeq_qiskit.circuits import (
    QNNCircuit,
    amplitude_encoder,
    angle_encoder,
    random_layer,
    ryzxy_gates,
    z_readout,
)
from qdeq_qiskit.equilibrium import Newton, SampledSolver, nearest_lift

DEPOLARIZING = {"sources": [{"kind": "depolarizing", "one_qubit": 0.001, "two_qubit": 0.01}]}


def backend_of(**fields: Any) -> Backend:
    return TypeAdapter(AnyBackend).validate_python(fields)


def model(num_qubits: int = 3) -> QNNCircuit:
    encoder = amplitude_encoder(num_qubits)
    return QNNCircuit.compose(
        encoder, random_layer(num_qubits, 12), z_readout(num_qubits), num_amplitudes=2**num_qubits
    )


def reuploading_model() -> QNNCircuit:
    """An encoder after weights: no part of the circuit is the same for all samples."""
    angles = angle_encoder(2, ryzxy_gates(2))
    ansatz = random_layer(2, 6)
    circuit = ansatz.compose(angles)
    return QNNCircuit(circuit, angles.parameters, ansatz.parameters, z_readout(2))


@pytest.mark.parametrize(
    "fields", [{"kind": "noisy", "noise": DEPOLARIZING}, {"kind": "snapshot", "name": "fake_manila"}]
)
def test_without_shots_a_noisy_backend_is_exact_and_differentiable(fields: dict[str, Any]) -> None:
    backend = backend_of(**fields, precision="double")
    weight = torch.nn.Parameter(torch.linspace(-1, 1, model().num_weights).double())
    layer = backend.layer(model(), weight)
    assert isinstance(layer, NoisyLayer)
    assert layer.weight is weight
    assert layer.dtype == torch.float64
    assert backend.exact
    assert backend.noisy
    assert isinstance(backend.default_solver(), Newton)
    assert "exact expectation" in backend.describe()
    exact = ExactLayer(model(), precision="double", weight=weight)
    x = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert 1e-3 < (layer(x) - exact(x)).abs().max() < 0.5
    cost = layer.bind(x, nearest_lift(8, 3).double()).cost
    assert (cost.circuits_per_value, cost.circuits_per_jacobian, cost.shots_per_circuit) == (1, 14, 0)


def test_with_shots_it_draws_from_the_same_distribution_on_either_route() -> None:
    x = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight = torch.nn.Parameter(torch.linspace(-1, 1, model().num_weights).double())
    exact = backend_of(kind="noisy", noise=DEPOLARIZING, precision="double").layer(model(), weight)
    for method, machine in (("auto", EffectiveMachine), ("aer", AerMachine)):
        backend = backend_of(kind="noisy", noise=DEPOLARIZING, shots=20_000, method=method)
        assert not backend.exact
        assert isinstance(backend.default_solver(), SampledSolver)
        assert "20000 shots" in backend.describe()
        layer = backend.layer(model(), weight)
        assert isinstance(layer, SampledLayer)
        assert isinstance(layer.machine, machine)
        with torch.no_grad():
            assert (layer(x) - exact(x)).abs().max() < 5 / 20_000**0.5


def test_ideal_circuits_with_shots_take_the_effective_route_where_they_can() -> None:
    assert isinstance(backend_of(kind="shots").layer(model()).machine, EffectiveMachine)
    wide = QNNCircuit.compose(angle_encoder(9, ryzxy_gates(9)), random_layer(9, 12), z_readout(9))
    assert not isinstance(backend_of(kind="shots").layer(wide).machine, EffectiveMachine)
    with pytest.raises(ValueError, match=r"method = 'effective': the compiled circuit has 9 wires.*method = 'aer'"):
        backend_of(kind="shots", method="effective").layer(wide)


def test_noise_is_named_in_a_file_and_changed_by_overrides(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("kind: noisy\nnoise: depolarizing\n")
    assert load_backend(path, "noise.scale=2").noise.scale == 2
    assert load_backend("noisy").describe() == "depolarising (1q 0.001, 2q 0.01); exact expectation"
    with pytest.raises(recipes.RecipeError, match="depolarising"):
        load_backend(path, "noise=depolarising")


def test_an_encoder_without_noise_is_named_wherever_the_backend_is() -> None:
    backend = backend_of(kind="noisy", noise=DEPOLARIZING, encoder_noise=False)
    assert "encoder without noise" in backend.describe()
    assert "encoder without noise" not in backend_of(kind="noisy", noise=DEPOLARIZING).describe()
    assert backend_of(kind="noisy", noise=DEPOLARIZING).encoder_noise


def test_noise_that_misses_the_circuit_is_refused_unless_that_is_meant() -> None:
    nowhere = {"sources": [{"kind": "depolarizing", "one_qubit": 0.001}]}
    with pytest.raises(ValueError, match=r"leaves two-qubit gates without an error: cz.*allow_untouched"):
        backend_of(kind="noisy", noise=nowhere).layer(model())
    backend_of(kind="noisy", noise=nowhere, allow_untouched=True).layer(model())


def test_a_gpu_asked_for_where_none_is_used_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="qdeq_qiskit"):
        backend_of(kind="noisy", noise=DEPOLARIZING, shots=10).layer(model())
        assert not caplog.records
        backend_of(kind="noisy", noise=DEPOLARIZING, shots=10, device="cuda").layer(model())
    assert "device = 'cuda' is of no use here" in caplog.text


def test_what_aer_must_run_is_said_with_its_cost_before_it_starts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="qdeq_qiskit"):
        layer = backend_of(kind="noisy", noise=DEPOLARIZING).layer(reuploading_model())
    assert isinstance(layer.machine, AerMachine)
    assert "every circuit is run on Aer: the encoder depends on weights" in caplog.text
    assert "every evaluation of a sample runs 1 circuit of 2 wires on Aer" in caplog.text
    assert layer.machine.rows_run == 0
    with pytest.raises(ValueError, match="method = 'effective': the encoder depends on weights"):
        backend_of(kind="noisy", noise=DEPOLARIZING, method="effective").layer(reuploading_model())


def test_ideal_circuits_that_aer_must_run_are_announced_too_and_their_shots_are_as_they_would_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    qnn = reuploading_model()
    with caplog.at_level(logging.WARNING, logger="qdeq_qiskit"):
        machine = backend_of(kind="shots", shots=64, seed=3).layer(qnn).machine
    assert "every circuit is run on Aer: the encoder depends on weights" in caplog.text
    assert "every evaluation of a sample runs 1 circuit of 2 wires on Aer" in caplog.text
    assert (machine.rows_run, machine.shots_run) == (0, 0)
    bare = EstimatorMachine(qnn, BackendEstimatorV2(backend=AerSimulator(method="statevector")), shots=64, seed=3)
    angles = torch.ones(2, len(machine.rules), dtype=torch.double)
    assert torch.equal(machine.run(angles).values, bare.run(angles).values)


@pytest.mark.parametrize("fields", [{"kind": "shots"}, {"kind": "noisy", "noise": DEPOLARIZING, "shots": 10}])
def test_eight_wires_with_shots_go_to_aer_unless_few_outcomes_or_the_route_are_asked_for(
    fields: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    def wide(num_wires: int, measured: int) -> QNNCircuit:
        encoder = angle_encoder(num_wires, ryzxy_gates(num_wires))
        return QNNCircuit.compose(encoder, random_layer(num_wires, 4), z_readout(num_wires)[:measured])

    backend = backend_of(**fields)
    for num_wires, measured in ((7, 7), (8, 6)):
        assert isinstance(backend.machine(wide(num_wires, measured)), EffectiveMachine)
    assert not caplog.records
    assert not isinstance(backend.machine(wide(8, 7)), EffectiveMachine)
    assert "the compiled circuit has 8 wires with 128 outcomes" in caplog.text
    assert "method = 'effective' does it all the same" in caplog.text
    caplog.clear()
    assert isinstance(backend_of(**fields, method="effective").machine(wide(8, 7)), EffectiveMachine)
    assert "seconds to half a minute for each new value of the weights" in caplog.text
    caplog.clear()
    if fields["kind"] == "noisy":
        assert isinstance(backend_of(**{**fields, "shots": None}).layer(wide(8, 8)), NoisyLayer)
        assert not caplog.records


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "noisy"}, "noise"),
        ({"kind": "noisy", "noise": DEPOLARIZING, "shots": 0}, "greater than or equal to 1"),
        (
            {
                "kind": "noisy",
                "noise": {"sources": [{"kind": "snapshot", "name": "fake_manila"}]},
                "basis_gates": ["rz"],
            },
            "native gates of its own",
        ),
        ({"kind": "snapshot"}, "either name"),
        ({"kind": "snapshot", "name": "fake_torno"}, "did you mean 'fake_torino'"),
        ({"kind": "snapshot", "name": "fake_manila", "scale": -1}, "greater than or equal to 0"),
        ({"kind": "snapshot", "name": "fake_manila", "method": "fast"}, "method"),
        ({"kind": "noisy", "noise": {"sources": [{"kind": "depolarizing", "two_qubit": 1.5}]}}, "two_qubit"),
    ],
)
def test_a_wrong_field_is_refused_where_it_is_written(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        backend_of(**fields)


def test_controlled_rotations_as_native_gates_are_refused_by_aer_alone() -> None:
    own = {"sources": [{"kind": "depolarizing", "one_qubit": 0.001, "two_qubit": 0.01}]}
    backend = {"kind": "noisy", "noise": own, "basis_gates": ["rx", "ry", "rz", "crx", "h", "sx", "cx", "cz"]}
    ansatz = QuantumCircuit(3)
    ansatz.crx(Parameter("a"), 0, 2)
    crossed = QNNCircuit.compose(amplitude_encoder(3), ansatz, z_readout(3), num_amplitudes=8)
    assert isinstance(backend_of(**backend, optimization_level=0).layer(crossed), NoisyLayer)
    with pytest.raises(ValueError, match="Aer binds crx wrongly"):
        backend_of(**backend, optimization_level=0, method="aer").layer(crossed)
