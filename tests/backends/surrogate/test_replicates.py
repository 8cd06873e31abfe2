"""Many draws of the operators: drawn with the stated covariance, each solved as it would be alone."""

from __future__ import annotations

import pytest
import torch
from surrogate_models import features, measured_on, plan_for, target_layer

from qdeq_qiskit.backends.maps import JoinedQuadraticMap, QuadraticMap, ReducedQuadraticMap
from qdeq_qiskit.backends.surrogate import SurrogateLayer, solve_replicates
from qdeq_qiskit.equilibrium import Equilibrium, MapCost, Newton, nearest_lift

LIFT = nearest_lift(16, 4, dtype=torch.float64)


def test_draws_scatter_about_the_measured_operators_with_their_covariance() -> None:
    measured = measured_on("fake_manila", design="clifford", shots=200)
    drawn = measured.replicates(4000, seed=3)
    x = features(plan_for("fake_manila").qnn, rows=2)
    unit = x / x.norm(dim=1, keepdim=True)
    values = torch.einsum("bi,rkij,bj->rbk", unit, drawn, unit).flatten(1)
    stated = measured.covariance_at(x).flatten(0, 1).flatten(1)
    assert torch.allclose(values.mean(0), measured.values_at(x).flatten(), atol=4 * float(stated.max()) ** 0.5 / 63)
    assert torch.allclose(torch.cov(values.T), stated, atol=0.08 * float(stated.max()))
    assert torch.equal(measured.replicates(3, seed=5), measured.replicates(3, seed=5))
    assert not torch.equal(measured.replicates(3, seed=5), measured.replicates(3, seed=6))


def test_joined_maps_have_the_values_and_slopes_of_each_alone() -> None:
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    operators = [(each + each.mT) / 2 for each in (normal(4, 16, 16), normal(4, 16, 16))]
    batches = [normal(3, 16), normal(5, 16)]
    alone = [QuadraticMap(A, x, LIFT, MapCost()) for A, x in zip(operators, batches, strict=True)]
    joined = JoinedQuadraticMap.of(
        [ReducedQuadraticMap.of(A, x, LIFT, MapCost()) for A, x in zip(operators, batches, strict=True)]
    )
    w = normal(8, 4)
    value, jacobian = joined.value_and_jacobian(w)
    found = [each.value_and_jacobian(part) for each, part in zip(alone, w.split((3, 5)), strict=True)]
    torch.testing.assert_close(value, torch.cat([each[0] for each in found]))
    torch.testing.assert_close(jacobian, torch.cat([each[1] for each in found]))
    rows = torch.tensor([6, 1])
    torch.testing.assert_close(joined.select(rows).value(w[rows]), value[rows])


def test_every_draw_is_solved_as_it_would_be_alone() -> None:
    measured = measured_on("fake_torino", shots=500)
    x = features(plan_for("fake_torino").qnn, rows=4)
    drawn = measured.replicates(5, seed=0)
    solver = Newton(tolerance=1e-11)
    found, converged = solve_replicates(drawn, x, LIFT, solver=solver)
    assert converged.all()
    for operators, states in zip(drawn, found, strict=True):
        layer = QuadraticMap(operators, x, LIFT, MapCost())
        assert torch.allclose(layer.value(states), states, atol=1e-9)
    layer = SurrogateLayer(plan_for("fake_torino").qnn, measured).eval()
    alone = Equilibrium(layer, lift=LIFT, solver=solver)(x).value.detach()
    own, _ = solve_replicates(measured.operators.unsqueeze(0), x, LIFT, solver=solver)
    assert torch.allclose(own[0], alone, atol=1e-9)


def test_without_a_solver_the_map_is_applied_so_many_times() -> None:
    measured = measured_on("fake_torino", shots=500)
    x = features(plan_for("fake_torino").qnn, rows=3)
    found, _ = solve_replicates(measured.operators.unsqueeze(0), x, LIFT, solver=None, layers=2)
    layer = SurrogateLayer(plan_for("fake_torino").qnn, measured).eval()
    with torch.no_grad():
        once = layer(x)
        assert torch.allclose(found[0], layer(once @ LIFT.T + x), atol=1e-12)


@pytest.mark.slow
def test_bootstrap_intervals_hold_the_true_root_as_often_as_they_say() -> None:
    """Measured 150 times anew; the true roots are those of the calibration with an ideal encoder."""
    x = features(plan_for("fake_torino").qnn, rows=20)
    target = target_layer("fake_torino")
    exact = Equilibrium(target, lift=LIFT, solver=Newton(tolerance=1e-12))(x).value.detach()
    covered = []
    for seed in range(1, 151):
        measured = measured_on("fake_torino", shots=4096, seed=seed)
        own, _ = solve_replicates(measured.operators.unsqueeze(0), x, LIFT, solver=Newton())
        states, _ = solve_replicates(measured.replicates(200, seed=seed), x, LIFT, solver=Newton())
        tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
        early, late = torch.quantile(states, tails, dim=0)
        low, high = 2 * own[0] - late, 2 * own[0] - early
        covered.append(((low <= exact) & (exact <= high)).double().mean())
    share = torch.stack(covered)
    error = float(share.std()) / len(share) ** 0.5
    # With 200 draws the quantiles themselves scatter, which costs about half a percentage point.
    assert abs(float(share.mean()) - 0.945) < 3 * error + 0.01
