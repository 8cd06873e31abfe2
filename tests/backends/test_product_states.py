"""Product-state encoders evaluated state by state, against operators, Qiskit and finite differences."""

import logging

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import efficient_su2
from qiskit.primitives import StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps import BlochEncoder, CutBlock, EncodedBlock, ProductMap, WireStates, product_state
from qdeq_qiskit.backends.product_choice import ONE_JACOBIAN, ONE_VALUE, SOLVE, ProductChoice
from qdeq_qiskit.circuits import QNNCircuit, angle_encoder, qdeq_ansatz, random_layer, ryzxy_gates, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, MapCost, Newton, ReducedJacobianPenalty, nearest_lift


def ryzxy(num_qubits):
    ansatz = qdeq_ansatz(num_qubits) if num_qubits >= 4 else random_layer(num_qubits)
    return QNNCircuit.compose(angle_encoder(num_qubits, ryzxy_gates(num_qubits)), ansatz, z_readout(num_qubits))


def uneven():
    """Wires with different numbers of rotations, fixed gates all about, angles that are no affine functions."""
    x = ParameterVector("x", 4)
    encoder = QuantumCircuit(4)
    encoder.h(0)
    encoder.rx(x[0], 0)
    encoder.s(0)
    encoder.rz(2 * x[1] * x[0], 0)
    encoder.h(1)
    encoder.s(1)
    encoder.ry(x[2], 1)
    encoder.sx(1)
    encoder.p(x[3], 1)
    encoder.t(2)
    encoder.h(2)
    paulis = [SparsePauliOp(["XYZI", "ZIIX"], [0.5, -1.0]), SparsePauliOp("IYXY")]
    return QNNCircuit.compose(encoder, efficient_su2(4, reps=1), paulis)


CIRCUITS = {f"{n} qubits": (lambda n=n: ryzxy(n)) for n in (2, 3, 4, 5, 6)} | {"uneven": uneven}


def layer_of(qnn, **options):
    torch.manual_seed(3)
    return ExactLayer(qnn, precision="double", **options)


def states_map(layer, x, lift):
    encoder = WireStates(layer.parts.prefix, layer.qnn.num_inputs, device=layer.device, dtype=layer.dtype)
    block = EncodedBlock(encoder, layer.engine, layer.readout)
    return ProductMap(layer.factors(layer.weight), x, lift, block, MapCost())


def operators_map(layer, x, lift):
    return layer.map_of(layer.operators(), layer.weight, x, lift)


def point_of(layer, batch=5, columns=None):
    features = layer.qnn.num_features
    lift = nearest_lift(features, min(columns or layer.qnn.num_outputs, features)).to(layer.dtype)
    x = torch.randn(batch, features, dtype=layer.dtype)
    return x, lift, torch.randn(batch, lift.shape[1], dtype=layer.dtype)


@pytest.mark.parametrize("name", CIRCUITS)
def test_values_and_jacobians_are_those_of_the_operators(name):
    layer = layer_of(CIRCUITS[name]())
    x, lift, w = point_of(layer)
    new, old = states_map(layer, x, lift), operators_map(layer, x, lift)
    for found, expected in zip(new.value_and_jacobian(w), old.value_and_jacobian(w), strict=True):
        assert (found - expected).abs().max() < 1e-12
    assert (new.value(w) - old.value(w)).abs().max() < 1e-12
    assert (new.unlifted_jacobian(w) - old.unlifted_jacobian(w)).abs().max() < 1e-12
    v, function = new.at_features(w)
    assert (function(v) - old.value(w)).abs().max() < 1e-12


def loss_of(bound, w):
    value, jacobian = bound.value_and_jacobian(w)
    return value.sin().sum() + jacobian.square().sum()


@pytest.mark.parametrize("name", CIRCUITS)
def test_gradients_of_values_and_of_a_penalty_are_those_of_the_operators(name):
    layer = layer_of(CIRCUITS[name]())
    x, lift, w = point_of(layer)
    x.requires_grad_()
    found, expected = (
        torch.autograd.grad(loss_of(make(layer, x, lift), w), [layer.weight, x]) for make in (states_map, operators_map)
    )
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 1e-10


@pytest.mark.parametrize("name", ["2 qubits", "5 qubits"])
def test_second_derivatives_of_a_penalty_are_those_of_the_operators(name):
    layer = layer_of(CIRCUITS[name]())
    x, lift, w = point_of(layer, batch=2)
    x.requires_grad_()

    def second(make):
        leaves = [layer.weight, x]
        first = torch.autograd.grad(loss_of(make(layer, x, lift), w), leaves, create_graph=True)
        return torch.autograd.grad(sum(part.sin().sum() for part in first), leaves)

    for one, other in zip(second(states_map), second(operators_map), strict=True):
        assert (one - other).abs().max() < 1e-10


@pytest.mark.parametrize("name", ["2 qubits", "uneven"])
def test_derivatives_match_finite_differences(name):
    layer = layer_of(CIRCUITS[name]())
    x, lift, w = point_of(layer, batch=1, columns=1)

    def values_and_jacobians(x, weight):
        bound = states_map(layer, x, lift).with_inputs((layer.factors(weight), x))
        return bound.value_and_jacobian(w)

    assert torch.autograd.gradcheck(values_and_jacobians, (x.requires_grad_(), layer.weight))


def test_the_jacobian_matches_finite_differences_of_the_values():
    layer = layer_of(ryzxy(5))
    x, lift, w = point_of(layer, batch=2)
    bound, step = states_map(layer, x, lift), 1e-5
    moves = step * torch.eye(lift.shape[1], dtype=w.dtype)
    differences = [(bound.value(w + move) - bound.value(w - move)) / (2 * step) for move in moves]
    assert (bound.value_and_jacobian(w)[1] - torch.stack(differences, dim=2)).abs().max() < 1e-8


@pytest.mark.parametrize("recorded", [2**22, 0])
def test_a_batch_in_parts_has_the_values_and_derivatives_of_the_whole(recorded, monkeypatch):
    layer = layer_of(ryzxy(3))
    x, lift, w = point_of(layer, batch=7)
    x.requires_grad_()

    def everything():
        leaves = [layer.weight, x]
        bound = states_map(layer, x, lift)
        first = torch.autograd.grad(loss_of(bound, w), leaves, create_graph=True)
        second = torch.autograd.grad(sum(part.sin().sum() for part in first), leaves)
        with torch.no_grad():
            return [*bound.value_and_jacobian(w), bound.value(w), *first, *second]

    whole = everything()
    monkeypatch.setattr(product_state, "MOST_AMPLITUDES", 50)
    monkeypatch.setattr(product_state, "MOST_RECORDED", recorded)
    for one, other in zip(everything(), whole, strict=True):
        assert (one - other).abs().max() < 1e-10


@pytest.mark.parametrize("batch", [0, 1])
def test_few_samples_and_none(batch):
    layer = layer_of(ryzxy(6))
    x, lift, w = point_of(layer, batch=batch)
    bound = states_map(layer, x, lift)
    value, jacobian = bound.value_and_jacobian(w)
    assert value.shape == bound.value(w).shape == (batch, 6)
    assert jacobian.shape == (batch, 6, 6)
    (gradient,) = torch.autograd.grad(loss_of(bound, w), layer.weight)
    assert gradient.shape == layer.weight.shape
    assert batch or not gradient.any()


def test_the_aer_engine_gives_the_same():
    pytest.importorskip("qiskit_aer")
    by_torch = layer_of(ryzxy(6))
    by_aer = ExactLayer(by_torch.qnn, engine="aer", precision="double", weight=by_torch.weight)
    x, lift, w = point_of(by_torch, batch=2)
    found, expected = (
        [*bound.value_and_jacobian(w), *torch.autograd.grad(loss_of(bound, w), by_torch.weight)]
        for bound in (states_map(by_aer, x, lift), states_map(by_torch, x, lift))
    )
    for one, other in zip(found, expected, strict=True):
        assert (one - other).abs().max() < 1e-10


def test_single_precision_agrees_with_double():
    double = layer_of(ryzxy(6))
    single = ExactLayer(double.qnn, weight=torch.nn.Parameter(double.weight.detach().float()))
    x, lift, w = point_of(double)
    of_single = states_map(single, x.float(), lift.float()).value_and_jacobian(w.float())
    for one, other in zip(of_single, states_map(double, x, lift).value_and_jacobian(w), strict=True):
        assert one.dtype == torch.float32
        assert (one - other).abs().max() < 1e-5


@pytest.mark.parametrize("num_qubits", [8, 10])
def test_values_on_many_qubits_are_those_of_qiskits_estimator(num_qubits, caplog):
    qnn = ryzxy(num_qubits)
    with caplog.at_level(logging.WARNING, logger="qdeq_qiskit"):
        layer = layer_of(qnn)
    assert not caplog.records
    x = torch.randn(2, qnn.num_features, dtype=torch.float64)
    values = layer(x).detach().numpy()
    for features, row in zip(x.numpy(), values, strict=True):
        parameters = [*qnn.input_parameters, *qnn.weight_parameters]
        given = dict(zip(parameters, [*features, *layer.weight.detach().numpy()], strict=True))
        circuit = qnn.circuit.assign_parameters(given)
        assert (
            np.abs(StatevectorEstimator().run([(circuit, list(qnn.observables))]).result()[0].data.evs - row).max()
            < 1e-10
        )


def test_ten_qubits_have_the_gradients_of_finite_differences():
    layer = layer_of(ryzxy(10))
    lift = nearest_lift(40, 10).double()
    solver = Newton(tolerance=1e-11)
    equilibrium = Equilibrium(layer, lift=lift, solver=solver, penalty=ReducedJacobianPenalty(), on_failure="raise")
    x = torch.randn(2, 40, dtype=torch.float64)
    solution = equilibrium(x)
    assert isinstance(equilibrium.map(x).outputs, EncodedBlock | CutBlock)
    found = solution.value.detach()

    # The penalty's gradient is meant at fixed z.
    def value():
        return equilibrium(x).value.sin().sum()

    def penalty():
        return layer.bind(x, lift).value_and_jacobian(found)[1].square().sum() / 20

    direction = torch.randn_like(layer.weight)
    wanted = (solution.value.sin().sum(), solution.penalty)
    gradients = [torch.autograd.grad(loss, layer.weight, retain_graph=True)[0] for loss in wanted]
    for gradient, function in zip(gradients, (value, penalty), strict=True):
        moved = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                layer.weight += step * direction
                moved.append(float(function().detach()))
                layer.weight -= step * direction
        assert float(gradient @ direction) == pytest.approx((moved[0] - moved[1]) / 2e-5, rel=1e-5)


def test_a_layer_takes_states_for_few_samples_and_operators_for_many():
    layer = layer_of(ryzxy(6))
    lift = nearest_lift(24, 6).double()
    kinds = [type(layer.bind(torch.zeros(batch, 24, dtype=torch.float64), lift).outputs) for batch in (1, 4, 256, 1)]
    assert kinds == [EncodedBlock, EncodedBlock, BlochEncoder, EncodedBlock]
    assert "where that is cheaper" in layer.explanation


def test_a_layer_of_four_qubits_takes_operators_always():
    layer = layer_of(ryzxy(4))
    for batch in (0, 1, 4096):
        x = torch.zeros(batch, 16, dtype=torch.float64)
        for lift in (torch.zeros(16, 0).double(), nearest_lift(16, 4).double()):
            assert isinstance(layer.bind(x, lift).outputs, BlochEncoder)


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("planned", [ONE_VALUE, ONE_JACOBIAN, SOLVE], ids=["value", "Jacobian", "solve"])
@pytest.mark.parametrize("num_qubits", [6, 7, 8, 9])
def test_the_choice_changes_from_states_to_operators_once_at_most_as_the_batch_grows(num_qubits, planned, gradient):
    choice = ProductChoice(num_qubits, num_outputs=num_qubits, factor_rows=16 * (num_qubits - 2))
    chosen = [choice.way(2**power, planned, gradient=gradient) == "states" for power in range(16)]
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] or num_qubits == 6
    assert chosen == [choice.way(2**power, planned, gradient=gradient) == "states" for power in range(16)]


def test_one_evaluation_takes_states_longer_than_a_solve():
    choice = ProductChoice(8, num_outputs=8, factor_rows=112)
    assert choice.way(1024, ONE_VALUE, gradient=False) == "states"
    assert choice.way(1024, SOLVE, gradient=False) == "operators"
    assert choice.way(256, SOLVE, gradient=True) == "states"


def test_factors_are_built_once_for_the_same_weights():
    layer = layer_of(ryzxy(8))
    x = torch.randn(3, 32, dtype=torch.float64)
    calls = []
    factors = layer.engine.factors
    layer.engine.factors = lambda angles: calls.append(1) or factors(angles)
    with torch.inference_mode():
        first = layer(x)
    with torch.no_grad():
        assert torch.equal(layer(x), first)
        assert len(calls) == 1
        layer.weight += 0.1
        assert not torch.allclose(layer(x), first)
        assert len(calls) == 2
