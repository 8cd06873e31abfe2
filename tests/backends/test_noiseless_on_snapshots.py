"""Equilibria of a noisy circuit with the Jacobian of the noiseless one: intervals, circuits, and what is planned."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.kinds.snapshot import SnapshotBackend
from qdeq_qiskit.backends.measurement import Measurement
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, angle_encoder, qdeq_ansatz, ryzxy_gates, z_readout
from qdeq_qiskit.equilibrium import Newton, PlannedCall, Reason, SampledSolver, nearest_lift, solve

LIFT = nearest_lift(16, 4).double()


def model(encoding: str) -> QNNCircuit:
    if encoding == "angle":
        return QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), qdeq_ansatz(4), z_readout(4))
    return QNNCircuit.compose(amplitude_encoder(4, 16), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)


def weight(qnn: QNNCircuit) -> torch.nn.Parameter:
    generator = torch.Generator().manual_seed(1)
    return torch.nn.Parameter(torch.rand(qnn.num_weights, generator=generator, dtype=torch.double) * 6.28 - 3.14)


@pytest.mark.parametrize("encoding", ["amplitude", "angle"])
def test_intervals_cover_the_noisy_fixed_point_and_no_circuit_is_spent_on_derivatives(encoding: str) -> None:
    qnn = model(encoding)
    theta = weight(qnn)
    exact = SnapshotBackend(name="fake_torino", precision="double").layer(qnn, theta)
    sampled = SnapshotBackend(name="fake_torino", shots=256).layer(qnn, theta)
    x = torch.randn(20, 16, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    start = torch.zeros(20, 4, dtype=torch.double)
    right = solve(exact.bind(x, LIFT).frozen(), start, Newton(tolerance=1e-10, max_iterations=60))
    assert right.converged.all()
    solver = SampledSolver(jacobian="noiseless", precision=0.1, max_shots=100_000)
    covered, repetitions = [], 60
    for stream in range(repetitions):
        sampled.restart(stream)
        before = sampled.machine.shots_run
        root = solve(sampled.bind(x, LIFT).frozen(), start, solver)
        assert (root.reason == Reason.WITHIN_NOISE).all()
        assert sampled.machine.shots_run - before == int(root.shots.sum())
        half = 1.959964 * root.covariance.diagonal(dim1=1, dim2=2).sqrt()
        assert half.max() <= 0.1
        covered.append(((root.w - right.w).abs() <= half).double())
    assert 0.935 <= float(torch.stack(covered).mean()) <= 0.965
    # A look and an estimate for each sample, now and then another.
    assert sampled.machine.rows_run < 2.2 * 20 * repetitions


@pytest.mark.parametrize(("encoding", "noisy_encoder"), [("amplitude", False), ("amplitude", True), ("angle", True)])
def test_the_rows_that_are_planned_are_those_that_the_machine_is_asked_for(
    encoding: str, noisy_encoder: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    qnn = model(encoding)
    machine = SnapshotBackend(name="fake_manila", shots=64).machine(qnn)
    layer = SampledLayer(qnn, machine, noisy_encoder=noisy_encoder, weight=weight(qnn))
    fixed_point_map = layer.bind(torch.rand(3, 16, dtype=torch.double), LIFT).frozen()
    asked: list[tuple[int, int | None]] = []
    planned: list[tuple[int, int | None]] = []
    run = machine.run

    def spy(angles: Tensor, *, shots: int | None = None) -> Measurement:
        asked.append((len(angles), shots))
        return run(angles, shots=shots)

    monkeypatch.setattr(machine, "run", spy)
    monkeypatch.setattr(machine, "affords", lambda calls: planned.extend(calls) or True)
    w = torch.zeros(3, 4, dtype=torch.double)
    value, _ = fixed_point_map.measure(w, shots=50)
    fixed_point_map.measure_jacobian(w, value, shots=20)
    fixed_point_map.value_and_jacobian(w)
    assert fixed_point_map.affords(
        [
            PlannedCall(3, shots=50),
            PlannedCall(3, value=False, jacobian=True, shots=20),
            PlannedCall(3, jacobian=True),
        ]
    )
    assert planned == asked


def test_the_noiseless_map_is_the_exact_layers_at_the_weights_of_now() -> None:
    qnn = model("amplitude")
    theta = weight(qnn)
    layer = SnapshotBackend(name="fake_manila", shots=64).layer(qnn, theta)
    names = [name for name, _ in layer.named_parameters()]
    x, w = torch.rand(3, 16, dtype=torch.double), torch.rand(3, 4, dtype=torch.double)
    for _ in range(2):
        expected = ExactLayer(qnn, precision="double", weight=theta).bind(x, LIFT)
        found = layer.bind(x.float(), LIFT.float()).noiseless
        torch.testing.assert_close(found.value(w), expected.value(w).detach(), rtol=0, atol=1e-6)
        with torch.no_grad():
            theta.add_(0.3)
    assert [name for name, _ in layer.named_parameters()] == names == ["weight"]
    assert list(layer.state_dict()) == ["weight"]
