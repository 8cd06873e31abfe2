"""The sampled layer: its difference rules are exact, its circuits few, its noise that of the shots."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import BackendEstimatorV2, StatevectorEstimator
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import CouplingMap, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from sampled_models import amplitude_model, angle_model, tangled_model

from qdeq_qiskit.backends import NoisyBackend, ShotsBackend
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.machine import EstimatorMachine
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.backends.spsa import SPSA
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import (
    Equilibrium,
    ImplicitAdjoint,
    KrasnoselskiiMann,
    Newton,
    Picard,
    Reason,
    SampledSolver,
    Solver,
    Unrolled,
    nearest_lift,
)
from qdeq_qiskit.noise import NoiseRecipe


def exact_twins(model: QNNCircuit, *, noisy_encoder: bool) -> tuple[ExactLayer, SampledLayer]:
    torch.manual_seed(0)
    exact = ExactLayer(model, precision="double")
    sampled = SampledLayer(
        model,
        EstimatorMachine(model, StatevectorEstimator(), shots=None),
        noisy_encoder=noisy_encoder,
        weight=exact.weight,
    )
    return exact, sampled


@pytest.mark.parametrize("noisy_encoder", [False, True])
@pytest.mark.parametrize("make", [angle_model, amplitude_model, tangled_model])
def test_without_shot_noise_values_and_all_derivatives_are_exact(
    make: Callable[[], QNNCircuit], noisy_encoder: bool
) -> None:
    model = make()
    exact, sampled = exact_twins(model, noisy_encoder=noisy_encoder)
    d, n = model.num_features, model.num_outputs
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(1, d, generator=generator, dtype=torch.float64)
    w = torch.randn(1, n, generator=generator, dtype=torch.float64)
    lift = nearest_lift(d, n).double()
    maps = exact.bind(x, lift), sampled.bind(x, lift)
    for found, expected in zip(*(bound.value_and_jacobian(w) for bound in maps), strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-11)
    assert torch.allclose(*(bound.unlifted_jacobian(w) for bound in maps), rtol=0, atol=1e-11)
    gradients = []
    for layer in (exact, sampled):
        leaf = x.clone().requires_grad_()
        gradients.append(torch.autograd.grad(layer(leaf).pow(2).sum(), [leaf, layer.weight]))
    for found, expected in zip(*gradients, strict=True):
        assert torch.allclose(found, expected, rtol=0, atol=1e-11)


def test_the_derivative_at_a_zero_vector_is_zero_and_rows_that_are_not_finite_are_not_run() -> None:
    exact, sampled = exact_twins(amplitude_model(), noisy_encoder=False)
    x = torch.randn(3, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x[0] = 0
    x[1, 4] = torch.nan
    lift = nearest_lift(11, 4).double()
    value, jacobian = sampled.bind(x, lift).value_and_jacobian(torch.zeros(3, 4, dtype=torch.float64))
    right, right_jacobian = exact.bind(x, lift).value_and_jacobian(torch.zeros(3, 4, dtype=torch.float64))
    for row in (0, 2):
        assert torch.allclose(value[row], right[row], rtol=0, atol=1e-12)
        assert torch.allclose(jacobian[row], right_jacobian[row], rtol=0, atol=1e-12)
    assert value[1].isnan().all()
    assert sampled.circuits_run == 2 * (1 + 2 * 4)


class CountingBackend(AerSimulator):
    """Counts circuits and keeps their seeds."""

    circuits = 0
    shots: tuple[int, ...] = ()
    seeds: tuple[int, ...] = ()

    def run(self, circuits: object, *args: object, **options: object) -> object:
        CountingBackend.circuits += len(circuits)
        CountingBackend.shots += (options["shots"],)
        CountingBackend.seeds += (options["seed_simulator"],)
        return super().run(circuits, *args, **options)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> type[CountingBackend]:
    monkeypatch.setattr(CountingBackend, "circuits", 0)
    monkeypatch.setattr(CountingBackend, "shots", ())
    monkeypatch.setattr(CountingBackend, "seeds", ())
    return CountingBackend


@pytest.mark.parametrize(
    ("make", "bases", "jacobian"),
    [(angle_model, 1, 16 * 2), (amplitude_model, 1, 4 * 2), (tangled_model, 2, 2 + 4 + 4 + 4)],
)
def test_the_circuits_of_a_batch_are_as_many_as_announced_and_run_in_one_job(
    make: Callable[[], QNNCircuit], bases: int, jacobian: int, counted: type[CountingBackend]
) -> None:
    model = make()
    layer = SampledLayer(model, EstimatorMachine(model, BackendEstimatorV2(backend=counted()), shots=100, seed=3))
    d, n = model.num_features, model.num_outputs
    bound = layer.bind(torch.randn(5, d, generator=torch.Generator().manual_seed(0)), nearest_lift(d, n))
    assert bound.cost.circuits_per_value == bases
    assert bound.cost.circuits_per_jacobian == jacobian * bases
    assert bound.cost.shots_per_circuit == 100
    with torch.no_grad():
        bound.value(torch.zeros(5, n))
    assert counted.circuits == layer.circuits_run == 5 * bases
    bound.value_and_jacobian(torch.zeros(5, n))
    assert counted.circuits == layer.circuits_run == 5 * (bases + bases + jacobian * bases)
    assert counted.shots == (100, 100)


def test_a_noisy_amplitude_encoder_is_differentiated_by_its_own_angles_which_costs_more() -> None:
    lift = nearest_lift(11, 4)
    costs = [
        exact_twins(amplitude_model(), noisy_encoder=noisy)[1].bind(torch.ones(1, 11), lift).cost
        for noisy in (False, True)
    ]
    assert [cost.circuits_per_jacobian for cost in costs] == [2 * 4, 2 * 15]


@pytest.mark.parametrize("shots", [1, 7, 100, 1024, 4096, 100_000])
def test_the_shots_run_are_the_shots_asked_for(shots: int, counted: type[CountingBackend]) -> None:
    layer = SampledLayer(
        tangled_model(), EstimatorMachine(tangled_model(), BackendEstimatorV2(backend=counted()), shots=shots, seed=0)
    )
    with torch.no_grad():
        layer(torch.zeros(1, 3))
    assert counted.shots == (shots,)


def test_a_seed_reproduces_a_sequence_of_evaluations_which_differ_from_each_other(
    counted: type[CountingBackend],
) -> None:
    model = tangled_model()
    weight = torch.nn.Parameter(torch.tensor([0.3, -0.4]))
    v = torch.tensor([[0.2, 0.4, 0.6]])

    def evaluations(seed: int) -> torch.Tensor:
        layer = SampledLayer(
            model, EstimatorMachine(model, BackendEstimatorV2(backend=counted()), shots=50, seed=seed), weight=weight
        )
        with torch.no_grad():
            return torch.stack([layer(v) for _ in range(4)])

    first = evaluations(5)
    assert torch.equal(evaluations(5), first)
    assert not torch.equal(evaluations(6), first)
    assert len({tuple(row.flatten().tolist()) for row in first}) > 1
    assert len(set(counted.seeds[:4])) == 4


def test_the_noise_of_values_is_that_of_their_shots() -> None:
    model = angle_model()
    exact = ExactLayer(model, precision="double")
    layer = SampledLayer(
        model,
        EstimatorMachine(model, BackendEstimatorV2(backend=AerSimulator()), shots=400, seed=1),
        weight=exact.weight,
    )
    v = torch.randn(1, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).expand(300, -1)
    with torch.no_grad():
        values, mean = layer(v), exact(v[:1])[0]
    z = (values - mean) / ((1 - mean.square()) / 400).sqrt()
    assert z.mean(0).abs().max() < 5 / np.sqrt(300)
    assert (z.square().mean(0) - 1).abs().max() < 5 * np.sqrt(2 / 300)


def test_a_measurement_knows_its_shots_and_its_error() -> None:
    model = angle_model()
    exact = ExactLayer(model, precision="double")
    machine = EstimatorMachine(model, BackendEstimatorV2(backend=AerSimulator()), shots=100, seed=1)
    bound = SampledLayer(model, machine, weight=exact.weight).bind(
        torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2)),
        nearest_lift(16, 4).double(),
    )
    w = torch.zeros(2, 4, dtype=torch.float64)
    value, covariance = bound.measure(w, shots=40_000)
    mean = exact.bind(bound.inputs[0], nearest_lift(16, 4).double()).value(w)
    assert bound.is_sampled
    torch.testing.assert_close(torch.diag_embed(covariance.diagonal(dim1=1, dim2=2)), covariance)
    torch.testing.assert_close(covariance.diagonal(dim1=1, dim2=2), (1 - mean**2) / 40_000, rtol=0.05, atol=1e-7)
    assert ((value - mean).abs() < 5 * covariance.diagonal(dim1=1, dim2=2).sqrt()).all()
    assert machine.shots_run == 2 * 40_000
    assert bound.measure(w)[1].diagonal(dim1=1, dim2=2).min() > covariance.max()
    assert machine.shots_run == 2 * 40_100


def test_derivatives_come_with_the_error_that_repetitions_show() -> None:
    model = tangled_model()
    machine = EstimatorMachine(model, BackendEstimatorV2(backend=AerSimulator()), shots=200, seed=1)
    slots = [1, 5]  # of a controlled rotation, and of a plain one
    assert [len(machine.rules[slot]) for slot in slots] == [4, 2]
    angles = torch.linspace(0.2, 1.7, len(machine.rules), dtype=torch.float64).expand(120, -1)
    measured = machine.run_shifted(angles, slots)
    spread = measured.derivatives.var(dim=0)  # (K, S)
    claimed = measured.covariance.diagonal(dim1=2, dim2=3).mean(0).T
    # The second observable is a sum of two strings, whose standard errors an estimator adds up: no less than the truth.
    assert ((spread[0] / claimed[0] - 1).abs() < 5 * np.sqrt(2 / 120)).all()
    assert (spread[1] < claimed[1] * (1 + 5 * np.sqrt(2 / 120))).all()


def test_a_layout_that_moves_qubits_moves_the_observables_with_them() -> None:
    exact = ExactLayer(amplitude_model(), precision="double")
    line = CouplingMap.from_line(7)
    pass_manager = generate_preset_pass_manager(
        3, coupling_map=line, basis_gates=["rz", "sx", "x", "cx"], initial_layout=[5, 2, 6, 4], seed_transpiler=1
    )
    layer = SampledLayer(
        exact.qnn,
        EstimatorMachine(exact.qnn, StatevectorEstimator(), shots=None, pass_manager=pass_manager),
        weight=exact.weight,
    )
    assert layer.compiled.num_qubits == 7
    v = torch.randn(2, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.allclose(layer(v), exact(v), rtol=0, atol=1e-10)


def test_an_equilibrium_of_sampled_values_lies_where_the_exact_one_does() -> None:
    model = amplitude_model()
    exact = ExactLayer(model, precision="double", weight=torch.nn.Parameter(0.4 * torch.ones(39, dtype=torch.float64)))
    layer = SampledLayer(
        model,
        EstimatorMachine(model, BackendEstimatorV2(backend=AerSimulator()), shots=4096, seed=0),
        weight=exact.weight,
    )
    x = torch.randn(3, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    lift = nearest_lift(11, 4).double()
    with torch.no_grad():
        right = Equilibrium(exact, lift=lift, solver=Newton(tolerance=1e-10))(x)
        found = Equilibrium(layer, lift=lift, solver=SampledSolver(), on_failure="record")(x)
    assert right.converged.all()
    assert (found.value - right.value).abs().max() < 0.06
    assert found.circuits == layer.circuits_run
    assert found.shots == layer.machine.shots_run
    # Each sample's estimates, of which there is at least one, take 20 evaluations' shots in one circuit.
    beyond = found.shots // 4096 - found.circuits
    assert beyond >= 3 * 19
    assert beyond % 19 == 0


def test_an_estimator_that_returns_nan_is_an_error() -> None:
    class Broken(StatevectorEstimator):
        def run(self, pubs: object, *, precision: float | None = None) -> object:
            job = super().run(pubs, precision=precision)
            job.result()[0].data.evs[...] = np.nan
            return job

    layer = SampledLayer(tangled_model(), EstimatorMachine(tangled_model(), Broken(), shots=None))
    with torch.no_grad(), pytest.raises(RuntimeError, match="Broken returned"):
        layer(torch.zeros(1, 3))


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="has 2 weights"):
        SampledLayer(
            tangled_model(),
            EstimatorMachine(tangled_model(), StatevectorEstimator(), shots=None),
            weight=torch.nn.Parameter(torch.zeros(3)),
        )
    layer = SampledLayer(tangled_model(), EstimatorMachine(tangled_model(), StatevectorEstimator(), shots=None))
    with pytest.raises(ValueError, match=r"\(2, 4\); this circuit takes \(B, 3\)"):
        layer.bind(torch.zeros(2, 4), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"\(2, 4\); this circuit takes \(B, 3\)"):
        layer(torch.zeros(2, 4))


def test_a_batch_without_samples_has_no_values_and_costs_nothing() -> None:
    for model in (amplitude_model(), tangled_model()):
        layer = SampledLayer(model, EstimatorMachine(model, StatevectorEstimator(), shots=None))
        d, n = model.num_features, model.num_outputs
        bound = layer.bind(torch.zeros(0, d), nearest_lift(d, n))
        assert [tensor.shape for tensor in bound.value_and_jacobian(torch.zeros(0, n))] == [(0, n), (0, n, n)]
        (gradient,) = torch.autograd.grad(layer(torch.zeros(0, d)).sum(), layer.weight)
        assert torch.equal(gradient, torch.zeros_like(layer.weight))
        assert layer.circuits_run == 0


def test_whole_numbers_are_taken_as_floating_point_ones() -> None:
    layer = SampledLayer(tangled_model(), EstimatorMachine(tangled_model(), StatevectorEstimator(), shots=None))
    ones = torch.ones(1, 3, dtype=torch.int64)
    assert torch.equal(layer(ones), layer(ones.float()))


@pytest.mark.parametrize("make", [amplitude_model, tangled_model])
def test_a_gradient_through_newtons_iterations_is_the_implicit_one_where_they_converge(
    make: Callable[[], QNNCircuit],
) -> None:
    exact, sampled = exact_twins(make(), noisy_encoder=False)
    d, n = exact.qnn.num_features, exact.qnn.num_outputs
    lift = nearest_lift(d, n).double()
    x = torch.randn(1, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    results = []
    for layer, adjoint in ((exact, ImplicitAdjoint()), (sampled, Unrolled())):
        leaf = x.clone().requires_grad_()
        solution = Equilibrium(layer, lift=lift, solver=Newton(tolerance=1e-11), adjoint=adjoint)(leaf)
        assert solution.converged.all()
        results.append(torch.autograd.grad((solution.value * torch.arange(1, n + 1)).sum(), [leaf, layer.weight]))
    for expected, found in zip(*results, strict=True):
        assert expected.abs().max() > 1e-2
        assert torch.allclose(found, expected, rtol=0, atol=1e-5)


def test_gradients_are_taken_where_the_map_has_its_values_though_the_encoder_errs() -> None:
    kinds = ("over_rotation", "depolarizing")
    noise = NoiseRecipe.model_validate(
        {"sources": [{"kind": kind, "one_qubit": 0.01, "two_qubit": 0.05} for kind in kinds]}
    )
    backend = NoisyBackend(noise=noise, shots=10**15)
    model, lift = amplitude_model(), nearest_lift(11, 4).double()
    generator = torch.Generator().manual_seed(2)
    x = 0.4 * torch.randn(40, 11, generator=generator, dtype=torch.double)
    w = 2 * torch.rand(40, 4, generator=generator, dtype=torch.double) - 1
    cotangent = torch.randn(40, 4, generator=generator, dtype=torch.double)
    theta = 6 * torch.rand(model.num_weights, generator=generator, dtype=torch.double) - 3

    layer = backend.layer(model, torch.nn.Parameter(theta.clone()))

    def loss(weight: torch.Tensor) -> torch.Tensor:
        bound = layer.bind(x, lift).with_inputs((x, weight))
        return (bound.measure(w)[0] * cotangent).sum(1)

    v = x + w @ lift.T
    with torch.no_grad():
        # Angles that the map takes near x prepare the same state as those of v itself, but with other errors.
        assert (layer.bind(x, lift).value(w) - layer(v)).abs().max() > 1e-3
    found = layer.bind(x, lift).vjp(w, cotangent)[1]
    for chosen in range(0, model.num_weights, 13):
        step = 1e-2 * torch.eye(model.num_weights, dtype=torch.double)[chosen]
        slope = (loss(theta + step) - loss(theta - step)).sum() / 2e-2
        assert float(found[chosen]) == pytest.approx(float(slope), abs=2e-3)

    options = SPSA(perturbation=0.3, seed=4)
    layer = SampledLayer(model, layer.machine, noisy_encoder=True, weight_gradient=options, weight=layer.weight)
    signs = options.signs(40, model.num_weights, torch.Generator().manual_seed(4))[:, 0]
    expected = sum(
        (loss(theta + 0.3 * sign)[row] - loss(theta - 0.3 * sign)[row]) / 0.6 * sign for row, sign in enumerate(signs)
    )
    torch.testing.assert_close(layer.bind(x, lift).vjp(w, cotangent)[1], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("make", [amplitude_model, angle_model])
@pytest.mark.parametrize("recorded", [False, True])
@pytest.mark.parametrize(
    "solver",
    [SampledSolver(), Newton(max_iterations=2), KrasnoselskiiMann(max_iterations=3), Picard(max_iterations=2)],
    ids=lambda solver: solver.kind,
)
def test_a_solution_counts_the_circuits_and_shots_that_the_machine_ran(
    make: Callable[[], QNNCircuit], recorded: bool, solver: Solver
) -> None:
    model = make()
    layer = ShotsBackend(shots=60).layer(model)
    lift = nearest_lift(model.num_features, model.num_outputs)
    equilibrium = Equilibrium(layer, lift=lift, solver=solver, on_failure="record")
    x = torch.randn(4, model.num_features, generator=torch.Generator().manual_seed(1))
    x[2, 0] = torch.nan
    with torch.set_grad_enabled(recorded):
        solution = equilibrium(x)
    assert solution.circuits == layer.circuits_run
    assert solution.shots == layer.machine.shots_run


def test_few_shots_that_all_agree_are_not_taken_for_exact(counted: type[CountingBackend]) -> None:
    circuit, angle = QuantumCircuit(1), Parameter("x")
    circuit.rx(angle, 0)
    model = QNNCircuit(circuit, [angle], [], [SparsePauliOp("Z")])
    x = torch.full((300, 1), 0.3, dtype=torch.double)
    right = torch.cos(x)
    lift = torch.zeros(1, 1, dtype=torch.double)
    for machine in (
        EstimatorMachine(model, BackendEstimatorV2(backend=counted()), shots=3, seed=1),
        ShotsBackend(shots=3, seed=1).machine(model),
    ):
        layer = SampledLayer(model, machine)
        with torch.no_grad():
            solution = Equilibrium(layer, lift=lift, solver=SampledSolver(), on_failure="record")(x)
        # Three shots agree mostly: the fixed point, cos(0.3), comes from the many of the estimate nevertheless.
        assert set(solution.reason_counts()) == {Reason.WITHIN_NOISE}
        assert abs(float((solution.value - right).mean())) < 0.02
        assert 0.5 < float((solution.covariance > 0).double().mean()) < 0.95


@pytest.mark.parametrize("shots", [1, 2, 5])
def test_the_error_of_an_estimators_values_is_right_for_few_shots_too(
    shots: int, counted: type[CountingBackend]
) -> None:
    model = tangled_model()
    machine = EstimatorMachine(model, BackendEstimatorV2(backend=counted()), shots=shots, seed=2)
    measured = machine.run(torch.full((2000, machine.circuit.num_parameters), 0.4, dtype=torch.double))
    # The first observable is one string: of a sum Qiskit's estimator adds up the errors, not their squares.
    spread = measured.values[:, 0].var()
    claimed = measured.covariance[:, 0, 0].mean()
    if shots == 1:  # which shows none: no less than it can be
        assert claimed >= spread
    else:
        torch.testing.assert_close(claimed, spread, rtol=0.1, atol=0)


def test_a_machine_that_is_restarted_draws_the_same_again_and_another_stream_draws_others() -> None:
    model = amplitude_model()
    noise = NoiseRecipe.model_validate({"sources": [{"kind": "readout", "error": 0.02}]})
    for make in (
        lambda seed: ShotsBackend(shots=50, seed=seed).layer(model),
        lambda seed: ShotsBackend(shots=50, seed=seed, method="aer").layer(model),
        lambda seed: NoisyBackend(noise=noise, shots=50, seed=seed, mitigation={"readout": "trex"}).layer(model),
    ):
        layer = make(3)

        def draw(layer: SampledLayer, stream: int | None) -> torch.Tensor:
            if stream is not None:
                layer.restart(stream)
            with torch.no_grad():
                weight = torch.ones(model.num_weights)
                return layer.value(torch.ones(3, 11), weight)

        first, next_one = draw(layer, 7), draw(layer, None)
        assert not torch.equal(first, next_one)
        assert not torch.equal(first, draw(layer, 8))
        assert torch.equal(first, draw(layer, 7))
        assert torch.equal(next_one, draw(layer, None))
        assert torch.equal(first, draw(make(3), 7))
        assert not torch.equal(first, draw(make(4), 7))
        assert not torch.equal(draw(make(None), 7), draw(make(None), 7))
