"""What a solution tells about itself."""

import math

import pytest
import torch
from equilibrium_maps import case

from qdeq_qiskit.equilibrium import Equilibrium, Newton, Picard, Reason, spectral_radius


def test_the_spectral_radius_of_a_rotation_is_its_stretch() -> None:
    for angle in (0.3, math.pi / 2, 2.0):
        turn = 1.25 * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        assert spectral_radius(turn.unsqueeze(0)).item() == pytest.approx(1.25, rel=1e-6)


def test_the_spectral_radius_of_a_jacobian_that_is_not_finite_is_nan_for_that_sample_only() -> None:
    jacobian = torch.stack((2 * torch.eye(3), torch.full((3, 3), torch.nan)))
    radius = spectral_radius(jacobian)
    assert radius[0] == pytest.approx(2)
    assert radius[1].isnan()


def test_plain_iteration_contracts_as_the_spectral_radius_says() -> None:
    problem = case("contraction", samples=1)
    equilibrium = Equilibrium(problem.layer, state_size=3, solver=Newton(tolerance=1e-14))
    radius = spectral_radius(equilibrium(problem.x).jacobian).item()
    eigenvalues = torch.linalg.eigvals(problem.layer.matrix).abs()
    assert radius == pytest.approx(eigenvalues.max().item())


def test_reasons_are_counted_by_sample_and_are_sentences() -> None:
    problem = case("rotation", samples=5)
    solution = Equilibrium(problem.layer, state_size=2, solver=Picard(max_iterations=20), on_failure="record")(
        problem.x
    )
    assert solution.reason_counts() == {Reason.MAX_ITERATIONS: 5}
    for reason in Reason:
        assert str(reason).endswith(".")
        assert len(str(reason).split()) > 8


def test_a_solution_prints_on_one_line() -> None:
    problem = case("tanh")
    line = str(Equilibrium(problem.layer, state_size=3)(problem.x))
    assert "\n" not in line
    assert "3 converged" in line
    assert "newton" in line
