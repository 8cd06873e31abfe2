"""Measured operators against the exact ones of the calibration: without shots to rounding, with shots by χ²."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from scipy.stats import chi2
from surrogate_models import (
    PROCESSORS,
    amplitude_model,
    compiled_for,
    features,
    measured_on,
    plan_for,
    target_layer,
    weights,
)

from qdeq_qiskit import recipes
from qdeq_qiskit.backends import ExactBackend
from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.kinds.ibm import IBMBackend
from qdeq_qiskit.backends.noisy import EffectiveMachine, NoisyCircuit
from qdeq_qiskit.backends.surrogate import (
    MeasuredOperators,
    SurrogateBackend,
    SurrogateError,
    SurrogateLayer,
    measure_operators,
    plan_probes,
)
from qdeq_qiskit.circuits import CircuitRecipe, QNNCircuit, angle_encoder, random_layer, ryzxy_gates, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, Newton, nearest_lift
from qdeq_qiskit.models import ClassifierRecipe, QDEQClassifier
from qdeq_qiskit.noise import CircuitNoise, Snapshot

LIFT = nearest_lift(16, 4, dtype=torch.float64)


def roots(layer, x: torch.Tensor) -> torch.Tensor:
    solution = Equilibrium(layer, lift=LIFT, solver=Newton(tolerance=1e-12), on_failure="raise")(x)
    return solution.value.detach()


@pytest.mark.parametrize("processor", PROCESSORS)
def test_without_shots_values_and_roots_are_those_of_the_ideal_encoder_before_the_noisy_block(processor: str) -> None:
    measured = measured_on(processor, shots=None)
    layer, target = SurrogateLayer(plan_for(processor).qnn, measured).eval(), target_layer(processor)
    x = features(plan_for(processor).qnn)
    assert torch.allclose(layer(x), target(x), atol=1e-10, rtol=0)
    assert torch.allclose(measured.values_at(x), target(x), atol=1e-10, rtol=0)
    assert torch.allclose(roots(layer, x), roots(target, x), atol=1e-10, rtol=0)


@pytest.mark.parametrize("processor", PROCESSORS)
def test_what_clifford_bases_leave_uncorrected_is_within_their_bound(processor: str) -> None:
    measured = measured_on(processor, design="clifford", shots=None)
    x = features(plan_for(processor).qnn, rows=200)
    error = (measured.values_at(x) - target_layer(processor)(x)).abs().max()
    assert 1e-6 < error <= measured.bias_bound < 0.01


@pytest.mark.parametrize("design", ["tetrahedral", "clifford"])
def test_a_calibration_that_is_off_by_its_own_size_costs_no_more_than_the_bound(design: str) -> None:
    """Measured with the calibrated errors, evaluated as if there were none: the uncorrected duals."""
    measured = measured_on("fake_fez", design=design, shots=None)
    wrong = dataclasses.replace(measured, duals=measured.uncorrected)
    x = features(plan_for("fake_fez").qnn, rows=200)
    target = target_layer("fake_fez")(x)
    error = (wrong.values_at(x) - target).abs().max()
    assert error > 10 * (measured.values_at(x) - target).abs().max()
    assert error <= measured.miscalibration_bound + measured.bias_bound
    assert (wrong.values_at(x) - measured.values_at(x)).abs().max() <= measured.correction.max() + 1e-12


def test_operators_are_symmetric_and_count_what_was_run() -> None:
    measured = measured_on("fake_torino", shots=100)
    assert torch.allclose(measured.operators, measured.operators.mT, atol=1e-13)
    assert measured.circuits == 256
    assert measured.shots == 25_600
    assert measured.covariance.any()
    assert not measured_on("fake_torino", shots=None).covariance.any()
    assert measured.figures()["preparations"] == 256


def test_covariances_are_those_of_many_repetitions() -> None:
    x = features(plan_for("fake_manila").qnn, rows=3)
    repeats = [measured_on("fake_manila", shots=400, seed=seed) for seed in range(1, 81)]
    values = torch.stack([each.values_at(x).flatten() for each in repeats])
    stated = torch.stack([each.covariance_at(x).flatten(0, 1).flatten(1) for each in repeats]).mean(0)
    exact = target_layer("fake_manila")(x).flatten().detach()
    pulls = torch.linalg.solve_triangular(torch.linalg.cholesky(stated), (values - exact).T.contiguous(), upper=False)
    assert chi2.sf(float(pulls.square().sum()), pulls.numel()) > 1e-3
    assert chi2.cdf(float(pulls.square().sum()), pulls.numel()) > 1e-3


def chance_of_roots(processor: str, measured: MeasuredOperators) -> float:
    """One χ² over all 20 samples, with the errors that they share: δw = (1 − J)⁻¹ δf to first order."""
    target = target_layer(processor)
    x = features(plan_for(processor).qnn)
    exact = roots(target, x)
    found = roots(SurrogateLayer(plan_for(processor).qnn, measured).eval(), x)
    jacobian = target.bind(x, LIFT).frozen().value_and_jacobian(exact)[1]
    inverse = torch.linalg.inv(torch.eye(4, dtype=torch.float64) - jacobian)
    shared = measured.covariance_at(exact @ LIFT.T + x)
    covariance = torch.einsum("bij,bjcl,ckl->bick", inverse, shared, inverse).reshape(80, 80)
    moved = (found - exact).flatten()
    return float(chi2.sf(float(moved @ torch.linalg.solve(covariance, moved)), 80))


@pytest.mark.parametrize("processor", PROCESSORS)
@pytest.mark.parametrize("design", ["tetrahedral", "clifford"])
def test_roots_of_twenty_samples_agree_with_the_snapshot_with_an_ideal_encoder(processor: str, design: str) -> None:
    measured = measured_on(processor, design=design, shots=16_384, seed=7)
    assert chance_of_roots(processor, measured) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("processor", PROCESSORS)
def test_roots_from_runtimes_own_estimator_agree_with_that_snapshot_too(processor: str) -> None:
    """The code path of a processor, but for the network: every circuit sampled with the snapshot's noise."""
    backend = IBMBackend(name=processor, shots=4096, seed=3)
    plan = plan_for(processor)
    measured = measure_operators(plan, weights(plan.qnn), lambda probe: backend.machine_of(probe.compiled))
    assert measured.shots == 256 * 4096
    assert chance_of_roots(processor, measured) > 1e-3


def test_operators_come_back_from_their_file(tmp_path: Path) -> None:
    measured = measured_on("fake_manila", shots=50)
    path = tmp_path / "operators.safetensors"
    measured.save(path)
    back = MeasuredOperators.load(path)
    for field in dataclasses.fields(MeasuredOperators):
        one, other = getattr(measured, field.name), getattr(back, field.name)
        assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SurrogateError, match="holds no measured operators"):
        MeasuredOperators.load(path)
    with pytest.raises(SurrogateError, match="cannot be read"):
        MeasuredOperators.load(tmp_path / "nothing")


def test_gradients_by_features_are_those_of_the_target() -> None:
    qnn = plan_for("fake_torino").qnn
    gradients = []
    for layer in (SurrogateLayer(qnn, measured_on("fake_torino", shots=None)).eval(), target_layer("fake_torino")):
        x = features(qnn, rows=5).requires_grad_()
        solution = Equilibrium(layer, lift=LIFT, solver=Newton(tolerance=1e-12))(x)
        solution.value.square().sum().backward()
        gradients.append(x.grad)
    assert torch.allclose(*gradients, atol=1e-9)


def test_a_surrogate_is_not_trained_nor_used_at_other_weights() -> None:
    qnn = plan_for("fake_torino").qnn
    measured = measured_on("fake_torino", shots=None)
    x = features(qnn, rows=2)
    with pytest.raises(SurrogateError, match="cannot be trained"):
        SurrogateLayer(qnn, measured).train()(x)
    other = torch.nn.Parameter(weights(qnn) + 0.1)
    with pytest.raises(SurrogateError, match="others than those at which"):
        SurrogateLayer(qnn, measured, weight=other).eval()(x)
    with pytest.raises(SurrogateError, match="this one has 8,"):
        SurrogateLayer(amplitude_model(3), measured)


def test_what_has_no_operators_to_be_measured_is_refused_with_the_reason() -> None:
    def silent(compiled):
        return CircuitNoise(compiled.num_qubits)

    angles = QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), random_layer(4, 12, 0), z_readout(4))
    with pytest.raises(SurrogateError, match=r"needs an amplitude encoder.*take --method circuits"):
        plan_probes(angles, compile_circuit(angles), silent)
    qnn, compiled = compiled_for("fake_torino")
    noise_of = Snapshot.fake("fake_torino").noise
    with pytest.raises(SurrogateError, match=r"takes 256 preparations for an encoder on 4 wires.*is 200"):
        plan_probes(qnn, compiled, noise_of, max_preparations=200)
    with pytest.raises(SurrogateError, match="design: 'tetra' is unknown; did you mean 'tetrahedral'"):
        plan_probes(qnn, compiled, noise_of, design="tetra")
    three = amplitude_model(3)
    with pytest.raises(SurrogateError, match="on 2 or 4 wires, not on 3"):
        plan_probes(three, compile_circuit(three), silent, design="clifford")


def test_a_classifier_on_measured_operators_is_not_saved_where_nothing_could_read_it(tmp_path: Path) -> None:
    circuit = recipes.load("circuits", "qdeq4-amplitude", CircuitRecipe)
    recipe = ClassifierRecipe(class_names=("a", "b"), circuit=circuit, backend=ExactBackend())
    classifier = QDEQClassifier.from_recipe(recipe, seed=0)
    qnn = classifier.circuit
    plan = plan_probes(qnn, compile_circuit(qnn), lambda compiled: CircuitNoise(compiled.num_qubits))
    measured = measure_operators(
        plan,
        classifier.weight,
        lambda probe: EffectiveMachine(NoisyCircuit(probe.qnn, probe.compiled, plan.noise), shots=None),
    )
    surrogate = classifier.on_backend(SurrogateBackend.of(measured))
    with pytest.raises(ValueError, match=r"no recipe can name it: surrogate \(tetrahedral, 256 preparations"):
        surrogate.save(tmp_path / "model")
    assert not (tmp_path / "model").exists()
    surrogate.on_backend(classifier.backend).save(tmp_path / "model")
    back = QDEQClassifier.load(tmp_path / "model")
    assert torch.equal(back.weight, classifier.weight)
