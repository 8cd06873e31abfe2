"""The noisy layer against Aer's density matrix: randomised circuits, every source of noise, snapshots."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from noisy_circuits import MODELS, SOURCES, aer_values, amplitude_model, angle_model, layer_of, noise_of

from qdeq_qiskit.backends.noisy import NoisyLayer
from qdeq_qiskit.circuits import QNNCircuit


def error_against_aer(layer: NoisyLayer, features: torch.Tensor) -> float:
    circuit = layer.circuit
    expected = aer_values(circuit.qnn, circuit.compiled, circuit.noise, features, layer.weight.detach())
    return float(np.abs(layer(features).detach().numpy() - expected).max())


@pytest.mark.parametrize(("model", "source"), [*itertools.product(MODELS, SOURCES)])
def test_values_are_those_of_aers_density_matrix_for_every_source(model: str, source: str) -> None:
    layer, features = layer_of(MODELS[model](), noise_of(*SOURCES[source]))
    assert error_against_aer(layer, features) < 1e-10


@pytest.mark.parametrize("model", MODELS)
def test_values_are_those_of_aers_density_matrix_with_all_sources_at_once_scaled_and_twirled(model: str) -> None:
    sources = [source for some in SOURCES.values() for source in some]
    for options in ({"scale": 0.7}, {"scale": 1.3, "twirled": True}):
        layer, features = layer_of(MODELS[model](), noise_of(*sources, **options))
        assert error_against_aer(layer, features) < 1e-10


@pytest.mark.parametrize(
    ("model", "name", "idle"),
    [
        ("angle", "fake_manila", False),
        ("amplitude", "fake_manila", True),
        ("tangled", "fake_manila", False),
        ("angle", "fake_torino", True),
        ("amplitude", "fake_torino", False),
    ],
)
def test_values_are_those_of_aers_density_matrix_on_snapshots(model: str, name: str, idle: bool) -> None:
    recipe = noise_of({"kind": "snapshot", "name": name, "idle_relaxation": idle})
    layer, features = layer_of(MODELS[model](), recipe, idle=idle)
    assert error_against_aer(layer, features) < 1e-10


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", [angle_model, amplitude_model])
def test_values_are_those_of_aers_density_matrix_on_random_circuits(make: Callable[..., QNNCircuit], seed: int) -> None:
    layer, features = layer_of(make(seed=seed + 1), noise_of(*SOURCES["thermal_relaxation"], *SOURCES["readout"]))
    assert error_against_aer(layer, features) < 1e-10
