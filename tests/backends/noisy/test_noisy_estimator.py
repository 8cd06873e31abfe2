"""Stock EstimatorQNN, stock TorchConnector and the equilibrium on noisy backends: the numbers of the noisy layer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from noisy_circuits import SOURCES, angle_model, tangled_model
from pydantic import TypeAdapter
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import RXGate
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN

from qdeq_qiskit.backends import AnyBackend, HeisenbergEstimator, NoisyEstimator, NoisyGradient, NoisyLayer
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Equilibrium, Newton, nearest_lift

NOISY: dict[str, Any] = {"kind": "noisy", "noise": {"sources": SOURCES["readout"]}, "precision": "double"}


def backend_of(**fields: Any) -> Any:
    return TypeAdapter(AnyBackend).validate_python({**NOISY, **fields})


def network(model: QNNCircuit, estimator: NoisyEstimator, precision: float = 0.0) -> EstimatorQNN:
    return EstimatorQNN(
        circuit=model.circuit,
        estimator=estimator,
        gradient=NoisyGradient(estimator),
        observables=list(model.observables),
        input_params=list(model.input_parameters),
        weight_params=list(model.weight_parameters),
        input_gradients=True,
        default_precision=precision,
    )


@pytest.mark.parametrize("make", [angle_model, tangled_model])
def test_values_and_gradients_are_those_of_the_noisy_layer(make: Any) -> None:
    model = make()
    backend = backend_of()
    layer = backend.layer(model)
    stock = network(model, NoisyEstimator(backend))
    x = torch.randn(3, model.num_features, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weights = layer.weight.detach().numpy()
    assert np.abs(stock.forward(x.numpy(), weights) - layer(x).detach().numpy()).max() < 1e-12
    of_inputs, of_weights = stock.backward(x.numpy(), weights)
    leaf = x.clone().requires_grad_()
    for output in range(model.num_outputs):
        expected = torch.autograd.grad(layer(leaf)[1, output], [leaf, layer.weight])
        assert np.abs(of_inputs[1, output] - expected[0][1].numpy()).max() < 1e-10
        assert np.abs(of_weights[1, output] - expected[1].numpy()).max() < 1e-10


@pytest.mark.parametrize("fields", [{}, {"kind": "snapshot", "name": "fake_manila", "noise": None}])
def test_an_equilibrium_of_stock_parts_is_that_of_the_noisy_layer_and_so_is_its_gradient(
    fields: dict[str, Any],
) -> None:
    model = angle_model()
    wanted = {key: value for key, value in {**NOISY, **fields}.items() if value is not None}
    backend = TypeAdapter(AnyBackend).validate_python(wanted)
    layer = backend.layer(model)
    assert isinstance(layer, NoisyLayer)
    connector = TorchConnector(network(model, NoisyEstimator(backend)), initial_weights=layer.weight.detach().numpy())
    lift = nearest_lift(model.num_features, model.num_outputs)
    x = torch.rand(2, model.num_features, generator=torch.Generator().manual_seed(1))
    found = Equilibrium(connector, lift=lift, solver=Newton(tolerance=1e-5))(x)
    right = Equilibrium(layer, lift=lift, solver=Newton(tolerance=1e-10)).double()(x.double())
    assert found.converged.all()
    assert right.converged.all()
    assert torch.allclose(found.value.double(), right.value, rtol=0, atol=1e-4)
    gradients = [
        torch.autograd.grad(each.value.sum(), part.weight)[0] for each, part in ((found, connector), (right, layer))
    ]
    assert torch.allclose(gradients[0].double(), gradients[1], rtol=0, atol=1e-3)


def test_shots_scatter_as_the_standard_errors_say_and_follow_the_precision_asked_for() -> None:
    model = angle_model(2)
    exact, drawn = NoisyEstimator(backend_of()), NoisyEstimator(backend_of(shots=500, seed=1))
    rows = np.random.default_rng(0).normal(size=(1, model.circuit.num_parameters))
    pub = (model.circuit, model.observables[0], np.repeat(rows, 400, axis=0))
    right = exact.run([pub]).result()[0]
    assert right.metadata["exact"]
    assert (right.data.stds == 0).all()
    for precision, shots in ((None, 500), (0.1, 100)):
        data = drawn.run([pub], precision=precision).result()[0].data
        assert data.evs.std() == pytest.approx(data.stds.mean(), rel=0.15)
        assert data.stds.mean() == pytest.approx(np.sqrt(1.25 - right.data.evs[0] ** 2) / shots**0.5, rel=0.4)
        assert abs(data.evs.mean() - right.data.evs[0]) < 5 * data.stds.mean() / 20


def test_pubs_of_any_shape_are_served_and_circuits_told_apart() -> None:
    estimator = NoisyEstimator(shots_backend())
    model = tangled_model()
    changed = model.circuit
    changed.x(0)
    values = np.random.default_rng(1).normal(size=(3, 1, changed.num_parameters))
    observables = [["ZII", "IXI"]]
    pubs = [(model.circuit, observables, values), (changed, observables, values)]
    found, expected = (each.run(pubs).result() for each in (estimator, StatevectorEstimator()))
    for one, other in zip(found, expected, strict=True):
        assert one.data.evs.shape == other.data.evs.shape == (3, 2)
        assert np.abs(one.data.evs - other.data.evs).max() < 0.02
    assert estimator.run([]).result()._pub_results == []


def test_only_the_circuits_seen_last_are_remembered() -> None:
    estimator = NoisyEstimator(shots_backend())
    circuits = []
    for number in range(20):
        circuit = QuantumCircuit(1)
        circuit.ry(Parameter("a"), 0)
        circuit.rx(0.1 * number, 0)
        circuits.append(circuit)
    first = estimator.machine(circuits[0], [(("Z", 1.0),)])[0]
    assert estimator.machine(circuits[0].copy(), [(("Z", 1.0),)])[0] is first
    machines = [estimator.machine(circuit, [(("Z", 1.0),)])[0] for circuit in circuits]
    assert machines[0] is first
    assert len({id(machine) for machine in machines}) == 20
    assert len(estimator._circuits) == 16
    assert estimator.machine(circuits[0], [(("Z", 1.0),)])[0] is not first


def test_a_circuit_whose_matrix_differs_by_less_than_qiskit_sees_is_another() -> None:
    def circuit(angle: float) -> QuantumCircuit:
        made = QuantumCircuit(1)
        made.ry(Parameter("a"), 0)
        made.unitary(RXGate(angle).to_matrix(), [0])
        return made

    estimator = NoisyEstimator(shots_backend())
    first, other = circuit(0.3), circuit(0.3 + 1e-9)
    other.data[0] = first.data[0]
    assert first == other
    machine = estimator.machine(first, [(("Z", 1.0),)])[0]
    assert estimator.machine(other, [(("Z", 1.0),)])[0] is not machine
    assert estimator.machine(first.copy(), [(("Z", 1.0),)])[0] is machine


def shots_backend() -> Any:
    return TypeAdapter(AnyBackend).validate_python({"kind": "shots", "shots": 200_000})


def test_a_gradient_needs_its_own_estimator() -> None:
    with pytest.raises(TypeError, match="NoisyGradient needs a NoisyEstimator, not a HeisenbergEstimator"):
        NoisyGradient(HeisenbergEstimator())
    estimator = NoisyEstimator(backend_of())
    with pytest.raises(ValueError, match="Hermitian"):
        estimator.run(
            [(angle_model(2).circuit, SparsePauliOp("ZZ", [1j]), np.zeros(angle_model(2).circuit.num_parameters))]
        )
