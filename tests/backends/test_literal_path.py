"""The path that Qiskit's own parts take: stock EstimatorQNN, stock TorchConnector, the equilibrium, training on Aer.

And then the same object, its estimator exchanged for a noisy one.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import BackendEstimatorV2, StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.primitives import EstimatorV2 as AerEstimator
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN

from qdeq_qiskit.backends.estimator import HeisenbergEstimator, HeisenbergGradient
from qdeq_qiskit.equilibrium import Equilibrium, KrasnoselskiiMann, Newton, nearest_lift


def circuit_and_parameters() -> tuple[QuantumCircuit, ParameterVector, ParameterVector]:
    """Two wires, four inputs, four weights; no controlled rotation, whose parameters Aer 0.18.2 binds wrong."""
    x, theta = ParameterVector("x", 4), ParameterVector("t", 4)
    circuit = QuantumCircuit(2)
    for wire in range(2):
        circuit.ry(x[wire], wire)
        circuit.rz(x[2 + wire], wire)
    circuit.rx(theta[0], 0)
    circuit.ry(theta[1], 1)
    circuit.cx(0, 1)
    circuit.rx(theta[2], 1)
    circuit.ry(theta[3], 0)
    return circuit, x, theta


def network(estimator: object, gradient: object, precision: float = 0.0) -> EstimatorQNN:
    circuit, x, theta = circuit_and_parameters()
    return EstimatorQNN(
        circuit=circuit,
        estimator=estimator,
        gradient=gradient,
        observables=[SparsePauliOp("IZ"), SparsePauliOp("ZI")],
        input_params=list(x),
        weight_params=list(theta),
        input_gradients=True,
        default_precision=precision,
    )


def with_param_shift(estimator: object) -> EstimatorQNN:
    return network(estimator, ParamShiftEstimatorGradient(estimator))


def heisenberg(engine: str = "torch") -> EstimatorQNN:
    # Exact whatever the precision; what a sampling estimator in its place will be asked for.
    estimator = HeisenbergEstimator(engine=engine)
    return network(estimator, HeisenbergGradient(estimator), precision=1 / 64)


WEIGHTS = np.array([0.4, -0.3, 0.5, 0.2])


class Model(torch.nn.Module):
    """Features → equilibrium → logits, as a user of Qiskit would write it."""

    def __init__(self, qnn: EstimatorQNN) -> None:
        super().__init__()
        self.connector = TorchConnector(qnn, initial_weights=WEIGHTS)
        self.equilibrium = Equilibrium(self.connector, lift=nearest_lift(4, 2), solver=Newton(tolerance=1e-4))
        self.head = torch.nn.Linear(4, 2)
        with torch.no_grad():
            self.head.weight.copy_(torch.tensor([[1.0, -1.0, 0.5, 0.0], [-1.0, 1.0, 0.0, 0.5]]))
            self.head.bias.zero_()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.equilibrium(x).state)


def data() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    return x, torch.tensor([0, 1, 0])


def train(model: Model, steps: int) -> list[float]:
    x, labels = data()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    losses = []
    for _ in range(steps):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return losses


def test_aer_gives_the_values_and_gradients_of_qiskits_statevector_for_this_circuit() -> None:
    inputs = np.random.default_rng(0).normal(size=(2, 4))
    reference = with_param_shift(StatevectorEstimator())
    for tested in (with_param_shift(AerEstimator(options={"default_precision": 0.0})), heisenberg()):
        assert np.abs(tested.forward(inputs, WEIGHTS) - reference.forward(inputs, WEIGHTS)).max() < 1e-10
        for found, expected in zip(tested.backward(inputs, WEIGHTS), reference.backward(inputs, WEIGHTS), strict=True):
            assert np.abs(found - expected).max() < 1e-10


def test_stock_parts_train_on_aer_as_they_do_on_the_heisenberg_estimator() -> None:
    # The gradient shares Aer's estimator, whose own default precision must be 0 as well.
    on_aer = Model(with_param_shift(AerEstimator(options={"default_precision": 0.0})))
    exact = Model(heisenberg())
    losses, expected = train(on_aer, 2), train(exact, 2)
    assert losses == pytest.approx(expected, abs=1e-5)
    assert losses[-1] < losses[0]
    assert torch.allclose(on_aer.connector.weight, exact.connector.weight, rtol=0, atol=1e-4)
    assert not torch.allclose(on_aer.connector.weight, torch.tensor(WEIGHTS).float(), rtol=0, atol=1e-3)


def test_the_same_object_runs_on_a_fake_processor_when_its_estimator_is_exchanged() -> None:
    model = Model(heisenberg("aer"))
    train(model, 3)
    x, _ = data()
    with torch.no_grad():
        exact = model.equilibrium(x)
        model.connector.neural_network.estimator = BackendEstimatorV2(
            backend=FakeManilaV2(), options={"seed_simulator": 1}
        )
        model.equilibrium.solver = KrasnoselskiiMann(tolerance=1e-3, max_iterations=20, average=True)
        model.equilibrium.on_failure = "record"
        noisy = model.equilibrium(x)
    assert exact.converged.all()
    assert not torch.equal(noisy.value, exact.value)
    assert (noisy.value - exact.value).abs().max() < 0.15


def test_an_equilibrium_of_stock_parts_asks_its_network_once_for_each_jacobian() -> None:
    network_on_qiskit = with_param_shift(StatevectorEstimator())
    calls = {"forward": 0, "backward": 0}
    for name in calls:
        real = getattr(network_on_qiskit, name)

        def counted(*args: object, real: object = real, name: str = name) -> object:
            calls[name] += 1
            return real(*args)

        setattr(network_on_qiskit, name, counted)
    x, _ = data()
    solution = Model(network_on_qiskit).equilibrium(x)
    solution.value.sum().backward()
    evaluations, jacobians = int(solution.evaluations.max()), int(solution.jacobian_evaluations.max())
    assert calls == {"forward": evaluations, "backward": jacobians + 1}
    assert solution.circuits > 0
