"""The covariance that mitigated machines give, against repeated measurements."""

import pytest
import torch
from mitigated_circuits import DEPOLARIZING, OBSERVABLES, READOUT, ROW, build, repeated, slot_angles

from qdeq_qiskit.backends.mitigated import mitigated_machine
from qdeq_qiskit.noise import MitigationRecipe


@pytest.mark.parametrize(
    "recipe",
    [
        "trex",
        "twirling",
        "matrix+zne",
        {"zne": {"extrapolator": "exponential"}},
        {"zne": {"extrapolator": "polynomial_degree_2"}},
    ],
)
def test_the_covariance_is_that_of_repeated_measurements(recipe):
    compiled, noise = build(DEPOLARIZING, READOUT)
    tested = mitigated_machine(compiled, noise, MitigationRecipe.model_validate(recipe), shots=1024, seed=0)
    jobs = 40 if recipe == "trex" else 1  # rows of one job share a calibration
    measured = [tested.run(slot_angles(compiled, ROW.repeat(160 // jobs, 1))) for _ in range(jobs)]
    said = torch.cat([m.covariance for m in measured])
    assert (torch.linalg.eigvalsh(said) > -1e-12).all()
    seen, said = torch.cov(torch.cat([m.values for m in measured]).T), said.mean(dim=0)
    # The variance of 160 values is known to 11%, a correlation to 0.08.
    ratio = seen.diagonal() / said.diagonal()
    assert 0.8 < ratio.mean() < 1.25
    assert ((ratio > 0.6) & (ratio < 1.6)).all()
    correlation = [c / c.diagonal().outer(c.diagonal()).sqrt() for c in (seen, said)]
    assert torch.allclose(*correlation, rtol=0, atol=0.25)
    assert correlation[1][0, 1] > 0.3  # ZI and ZZ, from the same shots


@pytest.mark.parametrize("names", ["trex", "trex+zne"])
def test_the_covariance_knows_the_spread_of_random_circuits_and_of_the_calibration(names):
    """At zero angles all of it comes from readout errors, which differ much between flipped and unflipped wires."""
    compiled, noise = build({"kind": "readout", "error": [0.0, 0.2]}, observables=OBSERVABLES[:2])
    recipe = MitigationRecipe.model_validate({**MitigationRecipe.parse(names).model_dump(), "randomizations": 16})
    tested = mitigated_machine(compiled, noise, recipe, shots=4096, seed=0)
    rows = slot_angles(compiled, torch.zeros(1, 5, dtype=torch.float64))
    measured = [tested.run(rows) for _ in range(40)]
    values = torch.cat([m.values for m in measured])
    said = torch.diagonal(torch.cat([m.covariance for m in measured]), dim1=1, dim2=2).mean(dim=0)
    ratio = values.var(dim=0) / said
    assert 0.6 < ratio.mean() < 1.5


def test_shots_at_different_noise_factors_are_independent():
    """Runtime alone gives every circuit of a job the same random numbers, and values at all factors move together."""
    compiled, noise = build(READOUT)
    values, _ = repeated(compiled, noise, {"zne": {"noise_factors": [1, 3]}}, shots=1024, times=64)
    # Without noise in the gates all factors have one mean; the line through independent values has this variance.
    single = (1 - values.mean(axis=0)[:3] ** 2) / 1024
    ratio = values.var(axis=0, ddof=1)[:3] / (single * (1.5**2 + 0.5**2))
    assert 0.7 < ratio.mean() < 1.35
