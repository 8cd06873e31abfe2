"""A user's EstimatorQNN as the layer of an equilibrium, whatever evaluates it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives import BackendEstimatorV2, StatevectorEstimator
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.primitives import EstimatorV2 as AerEstimator
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN
from torch import nn

from qdeq_qiskit.backends import HeisenbergEstimator, HeisenbergGradient, QNNConnector
from qdeq_qiskit.equilibrium import Equilibrium, KrasnoselskiiMann, Newton, Picard, nearest_lift

WEIGHTS = np.array([0.4, -0.3, 0.5])


def network(estimator: Any, gradient: Any = None, **options: Any) -> EstimatorQNN:
    """A circuit of no preset: an encoder after a rotation, an input that acts twice, a three-body observable."""
    x, theta = ParameterVector("x", 3), ParameterVector("t", 3)
    circuit = QuantumCircuit(3)
    circuit.ry(theta[0], 0)
    for wire in range(3):
        circuit.rx(x[wire], wire)
    circuit.cx(0, 1)
    circuit.rzz(theta[1], 1, 2)
    circuit.ry(x[0], 2)
    circuit.rx(theta[2], 1)
    observables = [SparsePauliOp(["ZII", "IXZ"], [0.6, 0.3]), SparsePauliOp("ZYZ")]
    defaults = {"input_gradients": True, "default_precision": 0.0, "observables": observables}
    return EstimatorQNN(
        circuit=circuit,
        input_params=x,
        weight_params=theta,
        estimator=estimator,
        gradient=gradient or ParamShiftEstimatorGradient(estimator),
        **{**defaults, **options},
    )


def heisenberg(**options: Any) -> EstimatorQNN:
    estimator = HeisenbergEstimator()
    return network(estimator, HeisenbergGradient(estimator), **options)


def statevector() -> EstimatorQNN:
    return network(StatevectorEstimator())


def aer() -> EstimatorQNN:
    return network(AerEstimator(options={"default_precision": 0.0}))


def of(qnn: EstimatorQNN, connector: Any = QNNConnector) -> Any:
    return connector(qnn, initial_weights=WEIGHTS).double()


def features(rows: int = 2) -> torch.Tensor:
    return torch.randn(rows, 3, generator=torch.Generator().manual_seed(1), dtype=torch.double)


def scalar(layer: Any, x: torch.Tensor) -> torch.Tensor:
    equilibrium = Equilibrium(layer, lift=nearest_lift(3, 2).double(), solver=Newton(tolerance=1e-11))
    return equilibrium(x).value.pow(3).sum()


def iterated(qnn: EstimatorQNN, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The fixed point by plain iteration of the network itself: none of the library's own code."""
    lift, w = nearest_lift(3, 2).numpy(), np.zeros((len(x), 2))
    for _ in range(70):
        w = qnn.forward(x + w @ lift.T, weights)
    assert np.abs(qnn.forward(x + w @ lift.T, weights) - w).max() < 1e-10
    return w


@pytest.fixture(scope="module")
def slopes() -> tuple[np.ndarray, float]:
    """∂/∂θ, (3,), and ∂/∂x₁₀ of Σ w*³, by finite differences of plain iteration."""
    reference, x, step = heisenberg(), features().numpy(), 1e-4

    def found(change_x: np.ndarray, change_weight: np.ndarray) -> float:
        return float((iterated(reference, x + change_x, WEIGHTS + change_weight) ** 3).sum())

    of_weight = [(found(0 * x, row) - found(0 * x, -row)) / (2 * step) for row in np.eye(3) * step]
    along = np.zeros_like(x)
    along[1, 0] = step
    return np.array(of_weight), (found(along, 0 * WEIGHTS) - found(-along, 0 * WEIGHTS)) / (2 * step)


@pytest.mark.parametrize("make", [heisenberg, statevector, aer])
@pytest.mark.parametrize("connector", [QNNConnector, TorchConnector])
def test_the_gradient_is_that_of_finite_differences_of_plain_iteration(
    make: Any, connector: Any, slopes: tuple[np.ndarray, float]
) -> None:
    x, layer = features().requires_grad_(), of(make(), connector)
    of_x, of_weight = torch.autograd.grad(scalar(layer, x), [x, layer.weight])
    np.testing.assert_allclose(of_weight, slopes[0], rtol=0, atol=1e-6)
    assert float(of_x[1, 0]) == pytest.approx(slopes[1], abs=1e-6)


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_batch_of_any_size_gives_what_its_samples_give_alone(rows: int) -> None:
    equilibrium = Equilibrium(of(heisenberg()), lift=nearest_lift(3, 2).double(), solver=Newton(tolerance=1e-12))
    x = features(5)[:rows]
    together = equilibrium(x).value
    assert together.shape == (rows, 2)
    for row in range(rows):
        torch.testing.assert_close(together[row : row + 1], equilibrium(x[row : row + 1]).value, atol=1e-12, rtol=0)


def test_the_circuits_that_a_solution_counts_are_those_that_the_estimator_was_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    qnn, given = statevector(), {"circuits": 0}
    run = StatevectorEstimator.run

    def counted(self: StatevectorEstimator, pubs: Any, **options: Any) -> Any:
        pubs = [EstimatorPub.coerce(pub) for pub in pubs]
        given["circuits"] += sum(int(np.prod(pub.shape)) for pub in pubs)
        return run(self, pubs, **options)

    monkeypatch.setattr(StatevectorEstimator, "run", counted)
    equilibrium = Equilibrium(of(qnn), lift=nearest_lift(3, 2).double(), solver=Picard(max_iterations=4))
    equilibrium.on_failure = "record"
    with torch.no_grad():
        solution = equilibrium(features(1))
    assert solution.circuits == given["circuits"] > 0


def test_on_a_processor_the_same_weights_give_nearly_the_same_equilibrium() -> None:
    qnn = heisenberg(default_precision=1 / 32)
    layer = of(qnn)
    equilibrium = Equilibrium(layer, lift=nearest_lift(3, 2).double(), on_failure="record")
    with torch.no_grad():
        exact = equilibrium(features(1)).value
        qnn.estimator = BackendEstimatorV2(backend=FakeManilaV2(), options={"seed_simulator": 3})
        equilibrium.solver = KrasnoselskiiMann(max_iterations=4, average=True)
        noisy = equilibrium(features(1))
    assert 0 < float((noisy.value - exact).abs().max()) < 0.2
    assert noisy.shots == 32**2 * noisy.circuits > 0


class Joined(nn.Module):
    """f(w, x) of a network whose inputs are w and x, one after another."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, w: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.cat([w, x], dim=1))


@pytest.mark.parametrize("make", [heisenberg, statevector])
def test_inputs_of_state_and_features_work_as_a_module_and_by_a_lift_that_puts_the_state_in_front(make: Any) -> None:
    layer, x = of(make()), features(1)[:, :1].requires_grad_()
    solver = Newton(tolerance=1e-11)
    as_module = Equilibrium(Joined(layer), state_size=2, solver=solver)(x)
    by_lift = Equilibrium(layer, lift=torch.eye(3, 2).double(), solver=solver)(nn.functional.pad(x, (2, 0)))
    torch.testing.assert_close(as_module.value, by_lift.value, atol=1e-10, rtol=0)
    gradients = [torch.autograd.grad(each.value.pow(2).sum(), [x, layer.weight]) for each in (as_module, by_lift)]
    for one, two in zip(*gradients, strict=True):
        torch.testing.assert_close(one, two, atol=1e-8, rtol=0)
    assert by_lift.circuits > 0


@pytest.mark.parametrize("connector", [QNNConnector, TorchConnector])
@pytest.mark.parametrize(
    ("lift", "said"),
    [
        (nearest_lift(4, 2), r"features have shape \(2, 4\); this network takes \(\.\.\., 3\)"),
        (nearest_lift(3, 1), r"as many outputs \(observables\) as the state has entries \(columns of the lift R\)"),
        (nearest_lift(3, 3), r"as many outputs \(observables\) as the state has entries \(columns of the lift R\)"),
    ],
)
def test_a_lift_that_does_not_fit_the_network_is_refused_in_words(
    connector: Any, lift: torch.Tensor, said: str
) -> None:
    equilibrium = Equilibrium(of(heisenberg(), connector), lift=lift.double())
    with pytest.raises(ValueError, match=said):
        equilibrium(torch.zeros(2, len(lift), dtype=torch.double))


def test_a_network_without_input_gradients_is_refused_in_words() -> None:
    qnn = network(StatevectorEstimator(), input_gradients=False)
    equilibrium = Equilibrium(of(qnn), lift=nearest_lift(3, 2).double())
    with pytest.raises(RuntimeError, match="made without input_gradients=True"):
        equilibrium(features(1))
