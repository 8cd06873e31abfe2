"""Layers that were pickled, as worker processes get them, and their values and gradients."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from qdeq_qiskit.backends import AnyBackend, ExactLayer, NoisyLayer
from qdeq_qiskit.circuits import (
    QNNCircuit,
    amplitude_encoder,
    angle_encoder,
    qdeq_ansatz,
    random_layer,
    ryzxy_gates,
    z_readout,
)
from qdeq_qiskit.models import ModelRecipe, QDEQClassifier

NOISE = {"sources": [{"kind": "depolarizing", "one_qubit": 0.01, "two_qubit": 0.05}]}
BACKENDS: dict[str, dict[str, Any]] = {
    "exact": {"kind": "exact", "precision": "double"},
    "noisy": {"kind": "noisy", "noise": NOISE, "precision": "double"},
}


def expressions() -> QNNCircuit:
    """Angles that are no affine functions, of inputs behind an entangling gate and of weights."""
    x, theta = ParameterVector("x", 2), ParameterVector("t", 2)
    circuit = QuantumCircuit(2)
    circuit.h([0, 1])
    circuit.ry(x[0] * x[1], 0)
    circuit.cx(0, 1)
    circuit.rx(x[1].sin() + 0.3, 1)
    circuit.rz(theta[0] * theta[1], 0)
    circuit.rxx(2 * theta[1] + theta[0], 0, 1)
    circuit.ry(theta[0].sign(), 1)
    return QNNCircuit(circuit, x, theta, z_readout(2))


CIRCUITS = {
    "amplitude": lambda: QNNCircuit.compose(amplitude_encoder(2), random_layer(2, 8), z_readout(2), num_amplitudes=4),
    "tree angles": lambda: QNNCircuit.compose(amplitude_encoder(2), random_layer(2, 8), z_readout(2)),
    "angle": lambda: QNNCircuit.compose(angle_encoder(2, ryzxy_gates(2)), random_layer(2, 8), z_readout(2)),
    "expressions": expressions,
}


def evaluated(layer: Any, features: torch.Tensor) -> tuple[torch.Tensor, ...]:
    values = layer(features)
    return values, *torch.autograd.grad(values.square().sum(), [features, layer.weight])


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("circuit", CIRCUITS)
def test_a_copy_has_the_values_and_gradients_of_the_layer(circuit: str, backend: str, copied: Any) -> None:
    qnn = CIRCUITS[circuit]()
    layer = TypeAdapter(AnyBackend).validate_python(BACKENDS[backend]).layer(qnn)
    features = torch.randn(3, qnn.num_features, dtype=torch.double, requires_grad=True)
    layer(features.detach())
    for one, other in zip(evaluated(layer, features), evaluated(copied(layer), features), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_layer_of_a_trained_classifier_can_be_pickled(backend: str) -> None:
    qnn = QNNCircuit.compose(amplitude_encoder(4), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)
    chosen = TypeAdapter(AnyBackend).validate_python(BACKENDS[backend])
    model = QDEQClassifier(qnn, backend=chosen, num_classes=2, model=ModelRecipe(), seed=0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    features, labels = torch.randn(6, 16, dtype=torch.double), torch.tensor([0, 1, 1, 0, 1, 0])
    for _ in range(2):
        optimiser.zero_grad()
        output = model.classify(features)
        loss = torch.nn.functional.cross_entropy(output.logits, labels) + output.solution.penalty
        loss.backward()
        optimiser.step()
    layer = model.equilibrium.layer
    again = pickle.loads(pickle.dumps(layer))
    assert isinstance(again, ExactLayer | NoisyLayer)
    assert torch.equal(again.weight, model.weight)
    assert torch.equal(again(features), layer(features))
