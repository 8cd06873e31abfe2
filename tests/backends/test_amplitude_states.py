"""Amplitude encoders by the batch's states, against operators, Qiskit and autograd; and which way is chosen."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator, SparsePauliOp

from qdeq_qiskit.backends.amplitude_choice import AmplitudeChoice
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps import AmplitudeStates, AmplitudeStatesMap, QuadraticMap, parts
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, MapCost, Newton, ReducedJacobianPenalty, nearest_lift

CASES = {
    "all amplitudes": (4, 16, None),
    "some amplitudes": (6, 37, None),
    "observables that are not diagonal": (
        5,
        11,
        [SparsePauliOp(["XXIII", "IIZYI"], [0.5, 1.0]), SparsePauliOp("IIYIY")],
    ),
}


def layer_of(name):
    qubits, amplitudes, observables = CASES[name]
    encoder = amplitude_encoder(qubits, amplitudes)
    readout = observables or z_readout(qubits)
    torch.manual_seed(2)
    return ExactLayer(
        QNNCircuit.compose(encoder, qdeq_ansatz(qubits), readout, num_amplitudes=amplitudes), precision="double"
    )


def both_ways(layer, x, lift):
    states = AmplitudeStates(layer.engine, layer.readout)
    new = AmplitudeStatesMap(layer.factors(layer.weight), x, lift, states, MapCost())
    return new, QuadraticMap(layer.build(layer.weight), x, lift, MapCost())


def point_of(layer, batch=3):
    features = layer.qnn.num_features
    lift = nearest_lift(features, layer.readout.num_outputs).double()
    x = torch.randn(batch, features, dtype=torch.float64, requires_grad=True)
    return x, lift, torch.randn(batch, lift.shape[1], dtype=torch.float64)


def answers(bound, w):
    value, jacobian = bound.value_and_jacobian(w)
    v, function = bound.at_features(w)
    return {
        "value": bound.value(w),
        "value with the Jacobian": value,
        "Jacobian": jacobian,
        "Jacobian without the lift": bound.unlifted_jacobian(w),
        "of features": function(v),
        "frozen": bound.frozen().value_and_jacobian(w)[1],
        "selected": bound.select(torch.tensor([2, 0])).value(w[[2, 0]]),
    }


@pytest.mark.parametrize("name", CASES)
def test_answers_and_gradients_are_those_of_operators(name):
    layer = layer_of(name)
    x, lift, w = point_of(layer)
    new, old = (answers(bound, w) for bound in both_ways(layer, x, lift))
    for what, found in new.items():
        assert (found - old[what]).abs().max() < 1e-12, what
        if not found.requires_grad:
            assert what == "frozen"
            continue
        cotangent = torch.randn_like(found)
        leaves = (layer.weight, x)
        for one, other in zip(
            torch.autograd.grad(found, leaves, cotangent, retain_graph=True),
            torch.autograd.grad(old[what], leaves, cotangent, retain_graph=True),
            strict=True,
        ):
            assert (one - other).abs().max() < 1e-12, what


def test_values_are_those_of_qiskits_operators_also_at_zero():
    layer = layer_of("some amplitudes")
    qnn = layer.qnn
    features = torch.randn(4, 37, dtype=torch.float64)
    features[1] = 0  # encodes as the first basis state
    states = np.zeros((4, 64), dtype=complex)
    states[:, :37] = features
    states[1, 0] = 1
    ansatz = qdeq_ansatz(6).assign_parameters(layer.weight.detach().numpy())
    evolved = (states / np.linalg.norm(states, axis=1, keepdims=True)) @ Operator(ansatz).reverse_qargs().data.T
    matrices = [Operator(observable).reverse_qargs().data for observable in qnn.observables]
    expected = np.stack([np.einsum("bi,ij,bj->b", evolved.conj(), matrix, evolved).real for matrix in matrices], 1)
    found = AmplitudeStates(layer.engine, layer.readout).value(features, layer.factors(layer.weight))
    assert np.abs(found.detach().numpy() - expected).max() < 1e-12


def test_second_derivatives_are_those_of_finite_differences():
    qnn = QNNCircuit.compose(amplitude_encoder(2, 3), qdeq_small(), z_readout(2), num_amplitudes=3)
    layer = ExactLayer(qnn, precision="double")
    lift = nearest_lift(3, 2).double()
    states = AmplitudeStates(layer.engine, layer.readout)

    def jacobian(weight, x):
        bound = AmplitudeStatesMap(layer.factors(weight), x, lift, states, MapCost())
        return bound.value_and_jacobian(x.new_full((2, 2), 0.3))

    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([0.4, -1.1], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(jacobian, (weight, x))
    assert torch.autograd.gradgradcheck(jacobian, (weight, x))


def qdeq_small():

    circuit = QuantumCircuit(2)
    circuit.rx(Parameter("a"), 0)
    circuit.crx(Parameter("b"), 0, 1)
    circuit.h(1)
    return circuit


@pytest.mark.parametrize("mode", ["implicit", "direct"])
def test_a_training_step_has_the_loss_and_the_gradients_of_operators(mode, monkeypatch):
    gradients = []
    for takes_states in (True, False):
        layer = layer_of("some amplitudes")
        monkeypatch.setattr(AmplitudeChoice, "takes_states", lambda *_, answer=takes_states: answer)
        lift = nearest_lift(37, 6).double()
        penalty = ReducedJacobianPenalty() if mode == "implicit" else None
        solver = Newton(tolerance=1e-13)
        equilibrium = Equilibrium(
            layer, lift=lift, penalty=penalty, solver=solver, mode=mode, layers=1 + (mode != "implicit")
        )
        x = torch.randn(4, 37, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
        assert isinstance(equilibrium.map(x), AmplitudeStatesMap) is takes_states
        solution = equilibrium(x)
        loss = solution.value.square().sum() + (0 if penalty is None else 0.7 * solution.penalty)
        gradients.append((loss, *torch.autograd.grad(loss, (layer.weight, x))))
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() < 1e-10


def test_batches_in_parts_give_what_they_give_at_once(monkeypatch):
    layer = layer_of("some amplitudes")
    x, lift, w = point_of(layer, batch=7)
    whole = answers(both_ways(layer, x, lift)[0], w)
    monkeypatch.setattr(parts, "MOST_AMPLITUDES", 2 * 64)
    monkeypatch.setattr(parts, "MOST_RECORDED", 4 * 64)
    for what, found in answers(both_ways(layer, x, lift)[0], w).items():
        assert (found - whole[what]).abs().max() < 1e-13
        if found.requires_grad:
            (one,) = torch.autograd.grad(found.square().sum(), layer.weight, retain_graph=True)
            (other,) = torch.autograd.grad(whole[what].square().sum(), layer.weight, retain_graph=True)
            assert (one - other).abs().max() < 1e-12


def test_few_samples_or_many_amplitudes_take_states_and_many_samples_operators():
    hundred = AmplitudeChoice(10, 10, 100, operator_products=2, column_multiplications=1_400_000, factor_rows=80)
    assert hundred.takes_states(8, 10)
    assert not hundred.takes_states(256, 10)
    many = AmplitudeChoice(10, 10, 400, operator_products=2, column_multiplications=5_600_000, factor_rows=80)
    assert many.takes_states(256, 10)
    assert not AmplitudeChoice(4, 4, 16, 4, 256, 16).takes_states(1, 4)


def test_more_amplitudes_than_operators_are_built_for_train_through_states():
    qnn = QNNCircuit.compose(amplitude_encoder(10, 600), qdeq_ansatz(10), z_readout(10), num_amplitudes=600)
    layer = ExactLayer(qnn)
    assert "once" in layer.explanation
    solution = Equilibrium(layer, lift=nearest_lift(600, 10), penalty=ReducedJacobianPenalty())(torch.randn(3, 600))
    assert solution.converged.all()
    (solution.value.sum() + solution.penalty).backward()
    assert layer.weight.grad.isfinite().all()
    assert layer(torch.randn(2, 600)).shape == (2, 10)


def test_circuits_that_do_not_factor_are_differentiated_in_parts(monkeypatch):
    encoder = qdeq_small()
    encoder.rx(Parameter("x"), 1)
    encoder.ry(Parameter("y"), 0)
    encoder.cx(0, 1)
    inputs = [parameter for parameter in encoder.parameters if parameter.name in "xy"]
    weights = [parameter for parameter in encoder.parameters if parameter.name in "ab"]
    layer = ExactLayer(QNNCircuit(encoder, inputs, weights, z_readout(2)), precision="double")
    assert layer.parts.kind == "general"
    x, lift = torch.randn(9, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)

    def gradient():
        value, jacobian = layer.bind(x, lift).value_and_jacobian(x.new_full((9, 2), 0.2))
        return torch.autograd.grad(value.sum() + jacobian.square().sum(), layer.weight)[0]

    whole = gradient()
    monkeypatch.setattr("qdeq_qiskit.backends.exact.MOST_RECORDED", 16)
    monkeypatch.setattr(parts, "MOST_RECORDED", 16)
    monkeypatch.setattr(parts, "MOST_AMPLITUDES", 16)
    assert (gradient() - whole).abs().max() < 1e-13
