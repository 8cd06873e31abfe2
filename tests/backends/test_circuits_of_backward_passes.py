"""Circuits of adjoints, forward and backward, counted by the machine or the estimator that runs them.

A value with a gradient takes, when that is asked for, S_θ circuits for the weights and C_v for its features: 2d for
amplitudes and for angles alike, one gate an angle. A stock `EstimatorQNN` has K times as many, an observable a circuit,
and its one `backward` takes those of weights and inputs together.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pytest
import torch
from counted_models import SAMPLES, D, gates_of_the_weights, of_jacobian, solved
from qiskit.primitives import StatevectorEstimator
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN

from qdeq_qiskit.circuits import QNNCircuit, angle_encoder, random_layer, z_readout
from qdeq_qiskit.equilibrium import (
    JFB,
    Adjoint,
    Anderson,
    Broyden,
    ChordNewton,
    Equilibrium,
    ImplicitAdjoint,
    JacobianPenalty,
    KrasnoselskiiMann,
    Newton,
    ParameterShiftPenalty,
    PhantomGradient,
    Picard,
    Shine,
    Solver,
    Unrolled,
    nearest_lift,
)

MANY = 10**12
"""Shots enough that every iteration is better than the one before, so that the answer is the last iterate."""

SOLVERS: dict[str, Callable[..., Solver]] = {
    "picard": Picard,
    "krasnoselskii_mann": KrasnoselskiiMann,
    "anderson": Anderson,
    "broyden": Broyden,
    "chord_newton": ChordNewton,
    "newton": partial(Newton, pseudo_steps=(1.0,)),  # one attempt
}
# Products of the backward pass are in Solution.backward, the forward pass takes so many Jacobians.
ADJOINTS: dict[str, tuple[Adjoint, int, int]] = {
    "jfb": (JFB(), 0, 0),
    "phantom of one step": (PhantomGradient(steps=1), 0, 0),
    "phantom": (PhantomGradient(steps=3), 1, 0),
    "implicit": (ImplicitAdjoint(), 1, 0),
    "implicit, broyden": (ImplicitAdjoint(solver=Broyden(tolerance=0, max_iterations=4)), 0, 5),
    "implicit, anderson": (ImplicitAdjoint(solver=Anderson(tolerance=0, max_iterations=6)), 0, 7),
    "shine": (Shine(), 0, 0),
    "shine with fallback": (Shine(fallback=1.0), 0, 0),
    "shine, refined": (Shine(refine=2), 0, 2),
}

every_adjoint = pytest.mark.parametrize("adjoint", ADJOINTS)


@pytest.mark.parametrize("evaluations", [2, 4])
@pytest.mark.parametrize("encoding", ["amplitude", "angle"])
@pytest.mark.parametrize("solver", SOLVERS)
def test_unrolled_takes_back_every_iterate_but_the_last_and_all_features_but_the_first(
    solver: str, encoding: str, evaluations: int
) -> None:
    chosen = SOLVERS[solver](tolerance=0, max_iterations=evaluations - 1)
    solution, forward, backward = solved(encoding, shots=MANY, solver=chosen, adjoint=Unrolled())
    assert solution.evaluations.tolist() == [evaluations] * SAMPLES
    assert solution.circuits == forward
    # The answer w is made of f at all iterates before it; f(w) itself told its residual alone. The start is a constant.
    s_theta, c_v = gates_of_the_weights(encoding), 2 * D
    assert backward == SAMPLES * ((evaluations - 1) * s_theta + (evaluations - 2) * c_v)


@pytest.mark.parametrize("encoding", ["amplitude", "angle"])
@pytest.mark.parametrize("penalised", [False, True])
@every_adjoint
def test_adjoints_take_their_jacobians_forward_and_their_products_backward(
    adjoint: str, penalised: bool, encoding: str
) -> None:
    chosen, jacobians, products = ADJOINTS[adjoint]
    penalty = ParameterShiftPenalty(rule="quadratic" if encoding == "amplitude" else "shift", columns=2)
    solver = Broyden(tolerance=0, max_iterations=5)
    solution, forward, backward = solved(
        encoding, solver=solver, adjoint=chosen, penalty=penalty if penalised else None
    )
    columns = (5 if encoding == "amplitude" else 4) if penalised else 0
    c_j, s_theta = of_jacobian(encoding), gates_of_the_weights(encoding)
    assert solution.circuits == forward == SAMPLES * (6 + columns + jacobians * c_j)
    assert backward == SAMPLES * (s_theta + products * c_j)  # the penalty has its own backward pass
    assert (0 if solution.backward is None else solution.backward.circuits) == SAMPLES * products * c_j


class CountingEstimator(StatevectorEstimator):
    """Counts what it is given: circuits, each with one observable and one set of angles."""

    given = 0

    def run(self, pubs: Iterable[Any], *, precision: float | None = None) -> Any:
        pubs = [EstimatorPub.coerce(pub) for pub in pubs]
        self.given += sum(pub.size for pub in pubs)
        return super().run(pubs, precision=precision)


def stock_counts(adjoint: Adjoint, penalty: JacobianPenalty | None = None) -> tuple[int, int, int, int]:
    """Circuits of one sample on a stock connector: said and run forward, said of products and run backward."""
    encoder = angle_encoder(2, [("ry", 0), ("ry", 1), ("rz", 0), ("rx", 1)])
    circuit = QNNCircuit.compose(encoder, random_layer(2, 6), z_readout(2))
    assert circuit.num_weights == 6
    estimator = CountingEstimator()
    network = EstimatorQNN(
        circuit=circuit.circuit,
        estimator=estimator,
        observables=circuit.observables,
        input_params=list(circuit.input_parameters),
        weight_params=list(circuit.weight_parameters),
        gradient=ParamShiftEstimatorGradient(estimator),
        input_gradients=True,
        default_precision=0.0,
    )
    connector = TorchConnector(network, initial_weights=torch.linspace(-1, 1, 6).numpy())
    equilibrium = Equilibrium(
        connector,
        lift=nearest_lift(4, 2),
        solver=Broyden(tolerance=0, max_iterations=4),
        adjoint=adjoint,
        penalty=penalty,
        on_failure="record",
    )
    solution = equilibrium(torch.randn(SAMPLES, 4, generator=torch.Generator().manual_seed(1)))
    forward = estimator.given
    solution.value.sum().backward()
    of_products = 0 if solution.backward is None else solution.backward.circuits
    counts = (solution.circuits, forward, of_products, estimator.given - forward)
    assert all(count % SAMPLES == 0 for count in counts)
    said, ran, said_back, ran_back = (count // SAMPLES for count in counts)
    return said, ran, said_back, ran_back


OUTPUTS, SHIFTS = 2, 2 * (6 + 4)  # every rotation of the stock circuit is shifted for every output


@pytest.mark.parametrize("penalised", [False, True])
@every_adjoint
def test_a_stock_connector_takes_one_backward_of_its_network_for_all_products(adjoint: str, penalised: bool) -> None:
    chosen, jacobians, products = ADJOINTS[adjoint]
    said, ran, said_back, ran_back = stock_counts(chosen, ParameterShiftPenalty(columns=2) if penalised else None)
    assert said == ran == OUTPUTS * (5 + 4 * penalised) + jacobians * OUTPUTS * SHIFTS
    assert said_back == OUTPUTS * SHIFTS * (products > 0)
    assert ran_back == OUTPUTS * SHIFTS + said_back


def test_unrolled_through_a_stock_connector_takes_a_backward_of_its_network_for_every_iterate_but_the_last() -> None:
    said, ran, _, ran_back = stock_counts(Unrolled())
    assert said == ran == 5 * OUTPUTS
    assert ran_back == 4 * OUTPUTS * SHIFTS


def test_a_stock_connector_is_known_to_an_equilibrium_whatever_else_has_been_imported() -> None:
    code = """
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN
from qdeq_qiskit.equilibrium import bind_layer, MapCost
x, theta = Parameter("x"), Parameter("t")
circuit = QuantumCircuit(1)
circuit.ry(x, 0)
circuit.ry(theta, 0)
network = EstimatorQNN(circuit=circuit, input_params=[x], weight_params=[theta], input_gradients=True)
print(bind_layer(TorchConnector(network), torch.zeros(1, 1), torch.ones(1, 1), cost=MapCost()).cost.circuits_per_value)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]
