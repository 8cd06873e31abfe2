"""Circuits with too many amplitudes for operators on Aer: every sample's state, against Qiskit and the torch engine."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
import torch
from qiskit.quantum_info import Statevector

from qdeq_qiskit.backends import analysis, exact, product_ways
from qdeq_qiskit.backends.amplitude import AmplitudeAngles
from qdeq_qiskit.backends.engines import make_engine
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.circuits import (
    QNNCircuit,
    amplitude_encoder,
    angle_encoder,
    qdeq_ansatz,
    random_layer,
    ryzxy_gates,
    z_readout,
)

pytest.importorskip("qiskit_aer")


def amplitudes() -> QNNCircuit:
    return QNNCircuit.compose(amplitude_encoder(4, 16), qdeq_ansatz(4), z_readout(4), num_amplitudes=11)


def angles() -> QNNCircuit:
    return QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), qdeq_ansatz(4), z_readout(4))


@pytest.fixture(autouse=True)
def few_amplitudes_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (analysis, exact, product_ways):
        monkeypatch.setattr(module, "DENSE_LIMIT", 8)


def layers(qnn: QNNCircuit) -> tuple[ExactLayer, ExactLayer]:
    torch.manual_seed(5)
    by_aer = ExactLayer(qnn, engine="aer", precision="double")
    return by_aer, ExactLayer(qnn, precision="double", weight=by_aer.weight)


@pytest.mark.parametrize("make", [amplitudes, angles])
def test_values_are_those_of_qiskit(make: Callable[[], QNNCircuit]) -> None:
    qnn = make()
    layer, _ = layers(qnn)
    features = torch.randn(3, qnn.num_features, dtype=torch.float64)
    inputs = AmplitudeAngles(11)(features) if qnn.num_amplitudes else features
    parameters = [*qnn.input_parameters, *qnn.weight_parameters]
    expected = []
    for row in inputs:
        values = [*row.tolist(), *layer.weight.tolist()]
        state = Statevector(qnn.circuit.assign_parameters(dict(zip(parameters, values, strict=True))))
        expected.append([state.expectation_value(observable).real for observable in qnn.observables])
    assert layer.engine_name == "aer"
    assert np.abs(layer(features).detach().numpy() - expected).max() < 1e-12


@pytest.mark.parametrize("make", [amplitudes, angles])
def test_jacobians_and_gradients_are_those_of_the_torch_engine(make: Callable[[], QNNCircuit]) -> None:
    found = []
    for layer in layers(make()):
        torch.manual_seed(1)
        x = torch.randn(5, layer.qnn.num_features, dtype=torch.float64, requires_grad=True)
        bound = layer.bind(x, torch.randn(x.shape[1], 4, dtype=torch.float64))
        value, jacobian = bound.value_and_jacobian(torch.randn(5, 4, dtype=torch.float64))
        loss = value.pow(3).sum() + jacobian.pow(3).sum()
        if layer.qnn.num_amplitudes:
            loss = loss + bound.unlifted_jacobian(torch.zeros(5, 4, dtype=torch.float64)).pow(3).sum()
        found.append((value, jacobian, *torch.autograd.grad(loss, (layer.weight, x))))
    for one, other in zip(*found, strict=True):
        assert (one - other).abs().max() < 1e-10


@pytest.mark.parametrize("adjoint", [False, True])
def test_first_and_second_derivatives_are_those_of_differences(adjoint: bool) -> None:
    ansatz = random_layer(2, 5)
    program = program_of(ansatz, list(ansatz.parameters))
    engine = make_engine("aer", program, num_columns=1, precision="double")
    generator = torch.Generator().manual_seed(2)
    states = torch.randn(4, 3, dtype=torch.complex128, generator=generator).requires_grad_()
    phi = torch.linspace(-1, 2, program.num_slots, dtype=torch.float64).requires_grad_()
    apply = engine.apply_adjoint if adjoint else engine.apply
    assert torch.autograd.gradcheck(
        lambda some, given: apply(engine.factors(some), given), (phi, states), fast_mode=True
    )
    assert torch.autograd.gradgradcheck(
        lambda some, given: apply(engine.factors(some), given), (phi, states), fast_mode=True
    )


def test_a_spoilt_sample_leaves_the_others_as_they_are() -> None:
    layer, _ = layers(amplitudes())
    features = torch.randn(3, 11, dtype=torch.float64)
    whole = layer(features)
    features[1, 4] = torch.nan
    spoilt = layer(features)
    assert spoilt[1].isnan().all()
    assert torch.allclose(spoilt[[0, 2]], whole[[0, 2]], rtol=0, atol=1e-13)


def test_what_it_costs_is_said_before_the_work_starts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        layer, _ = layers(amplitudes())
    assert "every sample's state" in caplog.text
    assert "Aer takes" in caplog.text
    assert "seconds to send the states of 256 samples" in layer.explanation


def test_without_samples_there_is_nothing_to_run() -> None:
    layer, _ = layers(amplitudes())
    assert layer(torch.zeros(0, 11, dtype=torch.float64)).shape == (0, 4)
