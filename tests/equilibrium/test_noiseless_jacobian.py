"""The noiseless circuit's Jacobian in place of a measured one: no circuits for it, and intervals that still hold."""

from __future__ import annotations

import pytest
import torch
from sampled_maps import NOISE_LEAVES, noisy, root_of
from torch import Tensor

from qdeq_qiskit import recipes
from qdeq_qiskit.backends import ExactLayer, NoisyBackend
from qdeq_qiskit.circuits import CircuitRecipe
from qdeq_qiskit.equilibrium import (
    Equilibrium,
    FixedPointMap,
    FunctionMap,
    Newton,
    Reason,
    SampledSolver,
    nearest_lift,
    solve,
)
from qdeq_qiskit.equilibrium._noiseless import NoiselessModel
from qdeq_qiskit.noise import NoiseRecipe


@pytest.mark.parametrize("options", [{}, {"precision": 0.02, "max_shots": 10**7}], ids=["plain", "to a precision"])
@pytest.mark.parametrize("name", ["contraction", "tanh", "quantum", "rotation", "unstable"])
def test_its_intervals_cover_the_fixed_point_of_the_noisy_map(name: str, options: dict[str, float]) -> None:
    shares, error, distance = [], [], []
    for seed in range(150):  # small batches: the scale is learned from few samples
        fixed_point_map, start = noisy(name, samples=20, shots=400, seed=seed)
        root = solve(fixed_point_map, start, SampledSolver(jacobian="noiseless", **options))
        assert (root.reason == Reason.WITHIN_NOISE).all()
        assert not root.jacobian_evaluations.any()
        assert torch.equal(root.shots, fixed_point_map.ledger)
        half = 1.959964 * root.covariance.diagonal(dim1=1, dim2=2).sqrt()
        shares.append(((root.w - root_of(name)).abs() <= half).double().mean(0))
        error.append(root.w - root_of(name))
        distance.append(torch.einsum("bi,bij,bj->b", error[-1], torch.linalg.inv(root.covariance), error[-1]))
    share = torch.stack(shares).mean(0)
    assert share.min() >= 0.93
    assert share.max() <= 0.97
    assert abs(float(torch.cat(distance).mean()) / root.w.shape[1] - 1) < 0.15


def test_it_takes_one_look_and_then_as_many_shots_as_the_precision_needs() -> None:
    fixed_point_map, start = noisy("tanh", samples=200, shots=100)
    root = solve(fixed_point_map, start, SampledSolver(jacobian="noiseless", precision=0.01, max_shots=10**8))
    half = 1.959964 * root.covariance.diagonal(dim1=1, dim2=2).sqrt()
    assert root.converged.all()
    assert half.max() <= 0.01
    with torch.no_grad():
        jacobian = fixed_point_map.exact.value_and_jacobian(root_of("tanh").expand(200, -1))[1][0]
    inverse = torch.linalg.inv(torch.eye(3, dtype=torch.double) - jacobian)
    least = 3 * float((inverse @ fixed_point_map.unit @ inverse.T).diagonal().max()) * (1.96 / 0.01) ** 2
    growth = SampledSolver().growth * SampledSolver().estimate * 100 * 3
    assert 1.0 < float(root.shots.double().mean()) / least < 1.5 + growth / least
    assert float(root.evaluations.double().mean()) < 3.1


def test_the_scale_is_that_of_the_values_and_of_one_before_there_are_any() -> None:
    fixed_point_map, start = noisy("tanh", samples=50, shots=1_000_000)
    model = NoiselessModel(fixed_point_map.noiseless, 3, error=0.1)
    assert model.scale.tolist() == [1.0, 1.0, 1.0]
    rows = torch.arange(50)
    w = start + torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    value, covariance = fixed_point_map.measure(w)
    model.learn(rows, w, value, covariance)
    torch.testing.assert_close(model.scale, torch.full((3,), NOISE_LEAVES, dtype=torch.double), rtol=0.01, atol=0)
    with torch.no_grad():
        jacobian = fixed_point_map.exact.value_and_jacobian(w)[1]
        found = model.jacobian(rows, w).jacobian
    assert (found - jacobian).norm() < 0.02 * jacobian.norm()


def distorted(shape: float, *, shots: int = 4096) -> tuple[NoiselessModel, Tensor, Tensor]:
    """A model that has seen 0.7 f⁰(w) + 0.08 + `shape` cos(2 w) of 20 samples, their w, and the true Jacobian."""
    matrix = torch.tensor([[0.5, -0.8], [0.7, 0.4]], dtype=torch.double)
    ideal = FunctionMap(lambda w, x: torch.tanh(w @ matrix.T + x), (torch.zeros(20, 2, dtype=torch.double),), batched=1)
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(20, 2, generator=generator, dtype=torch.double)
    with torch.no_grad():
        value, jacobian = ideal.value_and_jacobian(w)
    value = 0.7 * value + 0.08 + shape * torch.cos(2 * w)
    model = NoiselessModel(ideal, 2, error=0.1)
    covariance = (torch.eye(2, dtype=torch.double) / shots).expand(20, 2, 2)
    noise = torch.randn(20, 2, generator=generator, dtype=torch.double) / shots**0.5
    model.learn(torch.arange(20), w, value + noise, covariance)
    return model, w, 0.7 * jacobian - 2 * shape * torch.diag_embed(torch.sin(2 * w))


def test_an_offset_that_readout_adds_is_told_from_what_noise_leaves() -> None:
    model, w, jacobian = distorted(0.0, shots=10**6)
    assert (model.scale - 0.7).abs().max() < 0.005
    assert (model.jacobian(torch.arange(20), w).jacobian - jacobian).norm() < 0.01 * jacobian.norm()
    assert model.error == pytest.approx(0.1, abs=0.01)


def test_values_that_lie_off_their_lines_make_the_jacobian_as_uncertain() -> None:
    errors = []
    for shape in (0.0, 0.05, 0.1):
        model, w, jacobian = distorted(shape)
        with torch.no_grad():
            found = model.jacobian(torch.arange(20), w).jacobian
        errors.append((model.error, float((found - jacobian).norm() / jacobian.norm())))
    assert errors[0][0] == pytest.approx(0.1, abs=0.02)
    for said, true in errors[1:]:
        assert 0.7 * true < said < 3 * true


COHERENT: list[dict[str, object]] = [{"kind": "over_rotation", "one_qubit": 0.01, "two_qubit": 0.05}]
BIASED: list[dict[str, object]] = [{"kind": "readout", "error": [0.02, 0.1]}]


@pytest.mark.filterwarnings("ignore::qdeq_qiskit.equilibrium.NotConvergedWarning")
@pytest.mark.parametrize(
    ("sources", "seed"),
    [(COHERENT, 1), (COHERENT, 2), (BIASED, 1)],
    ids=["coherent", "coherent, another model", "biased readout"],
)
def test_intervals_hold_where_noise_does_more_than_shrink_values(sources: list[dict[str, object]], seed: int) -> None:
    # Small images make the amplitude encoder steep: eigenvalues of J reach 0.85.
    qnn = recipes.load("circuits", "qdeq4-amplitude", CircuitRecipe).build()
    torch.manual_seed(seed)
    ideal = ExactLayer(qnn, precision="double")
    lift, x = nearest_lift(16, 4).double(), 0.4 * torch.rand(20, 16, dtype=torch.double)
    noise = NoiseRecipe.model_validate({"sources": sources})
    exact = NoisyBackend(noise=noise, shots=None, precision="double").layer(qnn, weight=ideal.weight)
    layer = NoisyBackend(noise=noise, shots=256, seed=0).layer(qnn, weight=ideal.weight)
    solver = SampledSolver(jacobian="noiseless", precision=0.05, max_shots=50_000)
    held, of_sample = [], []
    with torch.no_grad():
        begin = Equilibrium(exact, lift=lift, solver=Newton(tolerance=1e-10))(x).value
        for repetition in range(10):
            layer.restart(repetition)
            found = Equilibrium(layer, lift=lift, solver=solver)(x)
            # Some of these models have two fixed points: the one that is meant is the one nearby.
            near = Equilibrium(exact, lift=lift, solver=Newton(tolerance=1e-9))(x, found.value.double())
            truth = torch.where(near.converged.unsqueeze(1), near.value, begin)
            half = 1.959964 * found.covariance.diagonal(dim1=1, dim2=2).sqrt()
            inside = ((found.value - truth).abs() <= half).double()
            held.append(inside.mean())
            of_sample.append(inside.mean(1))
    assert torch.stack(held).mean() > 0.93
    assert torch.stack(of_sample).mean(0).quantile(0.1) > 0.75


def test_values_that_are_not_finite_teach_nothing() -> None:
    fixed_point_map, start = noisy("tanh", samples=4, shots=100)
    model = NoiselessModel(fixed_point_map.noiseless, 3, error=0.1)
    value, covariance = fixed_point_map.measure(start + 1)
    value[2] = torch.nan
    model.learn(torch.arange(4), start + 1, value, covariance)
    assert model.scale.isfinite().all()
    model.learn(torch.arange(4), start + 1, value * torch.nan, covariance)
    assert model.scale.isfinite().all()


def test_the_error_of_the_jacobian_is_in_the_covariance() -> None:
    sure, unsure = (
        solve(*noisy("tanh", samples=30, shots=400), SampledSolver(jacobian="noiseless", jacobian_error=error))
        for error in (0.0, 20.0)
    )
    assert (unsure.covariance.diagonal(dim1=1, dim2=2) > sure.covariance.diagonal(dim1=1, dim2=2)).all()


def test_an_exact_map_is_solved_with_its_own_jacobian() -> None:
    fixed_point_map, start = noisy("unstable", samples=2, shots=100)
    root = solve(fixed_point_map.exact, start, SampledSolver(jacobian="noiseless", tolerance=1e-10))
    assert root.converged.all()
    torch.testing.assert_close(root.w[0], root_of("unstable"), rtol=0, atol=1e-8)


def test_a_map_without_a_noiseless_one_is_refused_and_so_is_an_unknown_source() -> None:
    fixed_point_map, start = noisy("tanh", samples=2, shots=100)

    class Opaque(type(fixed_point_map)):  # type: ignore[misc]
        noiseless = None

    fixed_point_map.__class__ = Opaque
    with pytest.raises(ValueError, match="jacobian='noiseless' needs a layer that knows its noiseless circuit"):
        solve(fixed_point_map, start, SampledSolver(jacobian="noiseless"))
    with pytest.raises(ValueError, match="Did you mean 'noiseless'"):
        SampledSolver(jacobian="noisless")
    assert FunctionMap(lambda w: w, (), batched=0).noiseless is None
    assert isinstance(fixed_point_map, FixedPointMap)
