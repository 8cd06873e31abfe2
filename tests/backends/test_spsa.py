"""Gradients from simultaneous perturbations: right on average, two circuits a sample, good enough to learn from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from multinomial_machine import MultinomialMachine
from pydantic import TypeAdapter
from qiskit.primitives import StatevectorEstimator
from sampled_models import amplitude_model, angle_model, tangled_model

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.kinds import AnyBackend
from qdeq_qiskit.backends.machine import EstimatorMachine
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.backends.slot_circuit import slot_circuit
from qdeq_qiskit.backends.spsa import SPSA
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Equilibrium, SampledSolver, nearest_lift


@pytest.mark.parametrize("make", [amplitude_model, tangled_model])
def test_spsa_is_the_gradient_up_to_the_square_of_its_perturbation(make: Callable[[], QNNCircuit]) -> None:
    model = make()
    exact = ExactLayer(model, precision="double")
    x = torch.randn(1, model.num_features, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    cotangent = torch.linspace(1.0, -0.5, model.num_outputs, dtype=torch.float64)
    (right,) = torch.autograd.grad((exact(x) * cotangent).sum(), exact.weight)
    machine = EstimatorMachine(model, StatevectorEstimator(), shots=None)
    biases = []
    for perturbation in (0.4, 0.2):
        options = SPSA(perturbation=perturbation, repetitions=10, seed=1)
        layer = SampledLayer(model, machine, weight_gradient=options, weight=exact.weight)
        # The mean over all signs, as far as it can be had: that of the same function of exact values.
        generator = torch.Generator().manual_seed(5)
        signs = SPSA(repetitions=40_000).signs(1, model.num_weights, generator)[0]
        means = []
        for sign in (1, -1):
            weights = exact.weight.detach() + sign * perturbation * signs
            angles = layer._angles(x.expand(len(signs), -1), weights)
            means.append(exact_of_angles(model, angles) @ cotangent)
        estimates = ((means[0] - means[1]) / (2 * perturbation)).unsqueeze(1) * signs
        error = estimates.std(0) / len(signs) ** 0.5
        biases.append((estimates.mean(0) - right, error))
        before = machine.rows_run
        (found,) = torch.autograd.grad((layer(x) * cotangent).sum(), layer.weight)
        assert machine.rows_run - before == 1 + 2 * 10
        assert layer.circuits_per_weight_gradient == 20 * machine.circuits_per_row
        few = estimates.std(0) / 10**0.5
        assert ((found - estimates.mean(0)).abs() < 5 * few).all()
    (coarse, error), (fine, fine_error) = biases
    assert ((fine - coarse / 4).abs() < 5 * (error / 4 + fine_error) + 0.2 * coarse.abs()).all()
    assert fine.norm() < 0.5 * coarse.norm() + 5 * fine_error.norm()


def exact_of_angles(model: QNNCircuit, angles: torch.Tensor) -> torch.Tensor:
    """Expectation values for rows of slot angles."""
    program = program_of(model.circuit, [*model.input_parameters, *model.weight_parameters])
    circuit = slot_circuit(program)
    layer = ExactLayer(QNNCircuit(circuit, circuit.parameters, [], model.observables), precision="double")
    with torch.no_grad():
        return layer(angles)


def test_spsa_is_seeded_and_moves_on() -> None:
    model = amplitude_model()
    machine = EstimatorMachine(model, StatevectorEstimator(), shots=None)
    x = torch.randn(2, 11, generator=torch.Generator().manual_seed(0))
    weight = torch.nn.Parameter(torch.ones(model.num_weights))

    def gradients(**options: object) -> list[torch.Tensor]:
        layer = SampledLayer(model, machine, weight_gradient=SPSA(**options), weight=weight)
        return [torch.autograd.grad(layer(x).sum(), weight)[0] for _ in range(2)]

    first, again = gradients(seed=4), gradients(seed=4)
    assert torch.equal(torch.stack(first), torch.stack(again))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], gradients(seed=5)[0])
    with pytest.raises(ValueError, match="weight_gradient is 'spas'; expected 'parameter_shift', 'spsa'"):
        SampledLayer(model, machine, weight_gradient="spas")


@pytest.mark.parametrize("weight_gradient", ["parameter_shift", SPSA(repetitions=2, perturbation=0.2)])
def test_weights_learn_from_shots(weight_gradient: object) -> None:
    model = angle_model()
    machine = MultinomialMachine(model, shots=1000, seed=0)
    torch.manual_seed(1)
    x = torch.randn(16, 16)
    teacher = ExactLayer(model)
    with torch.no_grad():
        target = Equilibrium(teacher, lift=nearest_lift(16, 4))(x).value
    weight = torch.nn.Parameter(teacher.weight.detach() + 0.5 * torch.randn(39))
    layer = SampledLayer(model, machine, weight_gradient=weight_gradient, weight=weight)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.05)
    equilibrium = Equilibrium(layer, lift=nearest_lift(16, 4), solver=SampledSolver(), on_failure="record")
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        before = machine.rows_run
        solution = equilibrium(x)
        spent = machine.rows_run - before
        assert solution.circuits == spent
        loss = (solution.value - target).square().mean()
        loss.backward()
        assert machine.rows_run - before - spent == 16 * layer.circuits_per_weight_gradient
        optimiser.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.6 * sum(losses[:5])


def test_recipes_choose_how_gradients_are_measured_and_refuse_what_cannot_be_honoured() -> None:
    model = amplitude_model()
    adapter = TypeAdapter(AnyBackend)
    noise = {"sources": [{"kind": "depolarizing", "one_qubit": 0.001, "two_qubit": 0.01}]}
    for chosen, circuits in (("spsa", 2), ({"kind": "spsa", "repetitions": 3}, 6), ("parameter_shift", 80)):
        for fields in ({"kind": "shots"}, {"kind": "noisy", "noise": noise, "shots": 10}):
            backend = adapter.validate_python({**fields, "weight_gradient": chosen})
            assert backend.layer(model).circuits_per_weight_gradient == circuits
    with pytest.raises(ValueError, match="without shots gradients are exact"):
        adapter.validate_python({"kind": "noisy", "noise": noise, "weight_gradient": "spsa"})
