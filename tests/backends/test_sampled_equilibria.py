"""Equilibria of circuits that are measured with shots, against those of the exact expectation values."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from multinomial_machine import MultinomialMachine
from torch import Tensor

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, angle_encoder, qdeq_ansatz, ryzxy_gates, z_readout
from qdeq_qiskit.equilibrium import (
    FixedPointMap,
    KrasnoselskiiMann,
    Newton,
    Reason,
    Root,
    SampledSolver,
    nearest_lift,
    solve,
)

LIFT = nearest_lift(16, 4).double()


@pytest.fixture(autouse=True)
def without_warnings() -> Iterator[None]:
    """Samples that a budget leaves behind are warned of; the level is put back, since other tests read the log."""
    logger = logging.getLogger("qdeq_qiskit")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


@cache
def model(encoding: str) -> QNNCircuit:
    if encoding == "angle":
        return QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), qdeq_ansatz(4), z_readout(4))
    return QNNCircuit.compose(amplitude_encoder(4, 16), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)


def twins(
    encoding: str, features: Tensor, *, shots: int, seed: int, noisy_encoder: bool = False
) -> tuple[FixedPointMap, FixedPointMap, MultinomialMachine]:
    """The exact map and the sampled one, with the same weights."""
    qnn = model(encoding)
    weight = torch.nn.Parameter(
        torch.rand(qnn.num_weights, generator=torch.Generator().manual_seed(seed), dtype=torch.double) * 6.28 - 3.14
    )
    machine = MultinomialMachine(qnn, shots=shots, seed=seed)
    sampled = SampledLayer(qnn, machine, noisy_encoder=noisy_encoder, weight=weight)
    exact = ExactLayer(qnn, precision="double", weight=weight)
    return exact.bind(features, LIFT).frozen(), sampled.bind(features, LIFT).frozen(), machine


def features(samples: int, seed: int) -> Tensor:
    return torch.randn(samples, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.double)


def start(x: Tensor) -> Tensor:
    return torch.zeros(len(x), 4, dtype=torch.double)


def covered(root: Root, right: Tensor) -> Tensor:
    half = 1.959964 * root.covariance.diagonal(dim1=1, dim2=2).sqrt()
    return ((root.w - right).abs() <= half).double().mean(0)


def check_coverage(encoding: str, seed: int, shots: int, noisy_encoder: bool, **options: float) -> None:
    x = features(1, seed).expand(1000, -1)
    exact, sampled, machine = twins(encoding, x, shots=shots, seed=seed, noisy_encoder=noisy_encoder)
    right = solve(exact.select(torch.tensor([0])), start(x[:1]), Newton(tolerance=1e-12, max_iterations=60))
    assert right.converged.all()
    root = solve(sampled, start(x), SampledSolver(**options))
    assert root.converged.double().mean() > 0.99
    share = covered(root, right.w)
    assert share.min() >= 0.93
    assert share.max() <= 0.97
    assert int(root.shots.sum()) == machine.shots_run


@pytest.mark.parametrize(("encoding", "noisy_encoder"), [("amplitude", False), ("amplitude", True), ("angle", False)])
def test_intervals_of_a_circuits_fixed_point_cover_the_exact_one(encoding: str, noisy_encoder: bool) -> None:
    check_coverage(encoding, 1, 1024, noisy_encoder)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"precision": 0.01, "max_shots": 10**7}], ids=["plain", "to a precision"])
@pytest.mark.parametrize("shots", [1024, 4096])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("encoding", ["amplitude", "angle"])
def test_intervals_cover_for_many_models_shots_and_precisions(
    encoding: str, seed: int, shots: int, options: dict[str, float]
) -> None:
    check_coverage(encoding, seed, shots, False, **options)


def test_fixed_points_are_as_accurate_as_the_best_average_over_iterates_and_come_with_their_error() -> None:
    x = features(400, 3)
    exact, sampled, _ = twins("amplitude", x, shots=1024, seed=3)
    right = solve(exact, start(x), Newton(tolerance=1e-12, max_iterations=60)).w
    ours = solve(sampled, start(x), SampledSolver())
    theirs = solve(sampled, start(x), KrasnoselskiiMann(tolerance=0, max_iterations=39, average=True))
    assert float(ours.shots.double().mean()) < 44 * 1024  # Jacobian included
    errors = [torch.linalg.vector_norm(root.w - right, dim=1).median() for root in (ours, theirs)]
    assert errors[0] < 0.014
    assert errors[0] < 1.05 * errors[1]
    assert 0.94 < covered(ours, right).mean() < 0.96
    assert (ours.reason == Reason.WITHIN_NOISE).all()


def test_a_measured_jacobian_and_its_error_are_those_that_repetitions_show() -> None:
    x = features(1, 5).expand(2000, -1)
    w = 0.3 * torch.ones(2000, 4, dtype=torch.double)
    direction = torch.tensor([1.0, -0.5, 0.2, 0.7], dtype=torch.double)
    for encoding, noisy_encoder in (("amplitude", False), ("amplitude", True), ("angle", False)):
        exact, sampled, machine = twins(encoding, x, shots=200, seed=5, noisy_encoder=noisy_encoder)
        value, jacobian = exact.select(torch.tensor([0])).value_and_jacobian(w[:1])
        measured = sampled.measure_jacobian(w, value.expand(2000, -1), shots=100)
        assert machine.rows_run == 2000 * sampled.cost.circuits_per_jacobian
        assert machine.shots_run == 100 * machine.rows_run
        error = measured.jacobian - jacobian
        assert (error.mean(0).abs() < 5 * error.std(0) / 2000**0.5).all()
        along = error @ direction
        spread = torch.einsum("bk,bl->kl", along, along) / 2000
        claimed = measured.error_along(direction.expand(2000, -1)).mean(0)
        assert float((spread - claimed).norm() / claimed.norm()) < 0.15
