"""How a depolarising channel moves and contracts the fixed point: docs/explanation/noise-study.md, checked."""

from __future__ import annotations

import pytest
import torch

from qdeq_qiskit.backends import ExactLayer, NoisyBackend
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, angle_encoder, qdeq_ansatz, ryzxy_gates, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, Newton, Solution, nearest_lift, spectral_radius
from qdeq_qiskit.noise import NoiseRecipe

SOLVER = Newton(tolerance=1e-11, max_iterations=60)
LIFT = nearest_lift(16, 4).double()
ENCODERS = {
    "amplitude": (amplitude_encoder(4, 16), 16),
    "angle": (angle_encoder(4, ryzxy_gates(4)), None),
}


@pytest.fixture(params=sorted(ENCODERS))
def circuit(request: pytest.FixtureRequest) -> QNNCircuit:
    """The paper's 4-qubit model with either encoder."""
    encoder, amplitudes = ENCODERS[request.param]
    return QNNCircuit.compose(encoder, qdeq_ansatz(4), z_readout(4), num_amplitudes=amplitudes)


@pytest.fixture
def ideal(circuit: QNNCircuit) -> ExactLayer:
    """Without noise, in double precision, at some weights."""
    torch.manual_seed(3)
    return ExactLayer(circuit, precision="double")


@pytest.fixture
def features() -> torch.Tensor:
    return torch.randn(40, 16, dtype=torch.double, generator=torch.Generator().manual_seed(1))


def test_global_depolarising_noise_moves_the_fixed_point_by_minus_the_resolvent_times_it(
    ideal: ExactLayer, features: torch.Tensor
) -> None:
    exact = _equilibria(ideal, features)
    predicted = -_resolvent_times(exact, exact.value)
    strength = 1e-5
    moved = _equilibria(lambda v: (1 - strength) * ideal(v), features)
    same = _same_branch(exact, moved, 100 * strength)
    torch.testing.assert_close(((moved.value - exact.value) / strength)[same], predicted[same], rtol=2e-3, atol=2e-3)
    assert same.float().mean() > 0.9


def test_global_depolarising_noise_shrinks_the_spectral_radius_by_its_strength_to_first_order_at_the_origin(
    ideal: ExactLayer, features: torch.Tensor
) -> None:
    # Where w* is held, J becomes (1 − λ) J exactly.
    exact = _equilibria(ideal, features)
    strength = 0.2
    noisy = Equilibrium(lambda v: (1 - strength) * ideal(v), lift=LIFT, on_failure="record")
    with torch.no_grad():
        jacobian = noisy.map(features).frozen().value_and_jacobian(exact.value)[1]
    torch.testing.assert_close(spectral_radius(jacobian), (1 - strength) * spectral_radius(exact.jacobian))


def test_noise_in_every_gate_moves_the_fixed_point_by_the_resolvent_times_the_slope_of_f_in_its_strength(
    circuit: QNNCircuit, ideal: ExactLayer, features: torch.Tensor
) -> None:
    recipe = NoiseRecipe.load("depolarizing")
    exact = _equilibria(ideal, features)
    strength = 1e-4
    backend = NoisyBackend(noise=recipe.scaled(strength), precision="double")
    noisy = backend.layer(circuit, ideal.weight)
    # Of the map that is solved: its angles are those near the features', which noise tells from the principal ones.
    solved = Equilibrium(noisy, lift=LIFT).map(features).frozen()
    with torch.no_grad():
        slope = (solved.value_and_jacobian(exact.value)[0] - exact.value) / strength
    moved = _equilibria(noisy, features)
    same = _same_branch(exact, moved, 100 * strength)
    predicted = _resolvent_times(exact, slope)
    torch.testing.assert_close(((moved.value - exact.value) / strength)[same], predicted[same], rtol=2e-2, atol=2e-3)
    assert same.float().mean() > 0.85


def _equilibria(layer: object, features: torch.Tensor) -> Solution:
    with torch.no_grad():
        return Equilibrium(layer, lift=LIFT, solver=SOLVER, on_failure="record")(features)  # type: ignore[arg-type]


def _resolvent_times(solution: Solution, vector: torch.Tensor) -> torch.Tensor:
    """(I − J)⁻¹ applied to a vector of each sample."""
    assert solution.jacobian is not None
    return torch.linalg.solve(torch.eye(4, dtype=torch.double) - solution.jacobian, vector.unsqueeze(2)).squeeze(2)


def _same_branch(exact: Solution, moved: Solution, distance: float) -> torch.Tensor:
    """Samples that converged on both sides, to neighbouring roots, away from where I − J is singular."""
    assert exact.jacobian is not None
    gap = torch.linalg.svdvals(torch.eye(4, dtype=torch.double) - exact.jacobian)[:, -1]
    near = (moved.value - exact.value).norm(dim=1) < distance
    return exact.converged & moved.converged & near & (gap > 0.2)
