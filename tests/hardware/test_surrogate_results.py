"""Intervals of a surrogate's results, and its offset to direct execution: both told from exact calibrations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
import torch

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.kinds import load_backend
from qdeq_qiskit.backends.noisy import EffectiveMachine, NoisyCircuit
from qdeq_qiskit.backends.surrogate import MeasuredOperators, SurrogateBackend, measure_operators, plan_probes
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, random_layer, z_readout
from qdeq_qiskit.hardware.offset import Offset, expected_offset, offset_report
from qdeq_qiskit.hardware.surrogate_intervals import bootstrap
from qdeq_qiskit.models import ModelRecipe, QDEQClassifier
from qdeq_qiskit.noise import CircuitNoise
from qdeq_qiskit.training.data.images import Images
from qdeq_qiskit.training.evaluation import evaluate

SNAPSHOT = "snapshot_manila"


@dataclass(frozen=True)
class Case:
    classifier: QDEQClassifier
    compiled: CompiledCircuit
    noise: CircuitNoise
    images: Images


@cache
def case(mode: str = "implicit") -> Case:
    qnn = QNNCircuit.compose(amplitude_encoder(4), random_layer(4, 20, 0), z_readout(4), num_amplitudes=16)
    options = {"implicit": {}, "direct": {"mode": "direct", "layers": 2, "penalty": None}}[mode]
    model = ModelRecipe(**options)
    classifier = QDEQClassifier(qnn, backend=load_backend("exact"), num_classes=3, model=model, seed=0).eval()
    compiled, noise = load_backend(SNAPSHOT, ["shots=null"]).compile(qnn)
    rng = np.random.default_rng(0)
    images = Images(rng.random((12, 4, 4)).astype(np.float32), rng.integers(0, 3, 12), 3)
    return Case(classifier, compiled, noise, images)


@cache
def measured(shots: int | None, mode: str = "implicit", seed: int = 0) -> MeasuredOperators:
    here = case(mode)
    plan = plan_probes(here.classifier.circuit, here.compiled, load_backend(SNAPSHOT).noise_recipe().build)

    def machine(probe):
        return EffectiveMachine(NoisyCircuit(probe.qnn, probe.compiled, plan.noise), shots=shots, seed=seed)

    return measure_operators(plan, here.classifier.weight, machine)


def on_surrogate(shots: int | None, mode: str = "implicit") -> QDEQClassifier:
    return case(mode).classifier.on_backend(SurrogateBackend.of(measured(shots, mode)))


def on_snapshot(*options: str, mode: str = "implicit") -> QDEQClassifier:
    choices = ["shots=null", "precision=double", *options]
    return case(mode).classifier.on_backend(load_backend(SNAPSHOT, choices))


@pytest.mark.parametrize("mode", ["implicit", "direct"])
def test_a_classifier_on_exact_operators_is_the_snapshot_with_an_ideal_encoder(mode: str) -> None:
    found = evaluate(on_surrogate(None, mode), case(mode).images)
    expected = evaluate(on_snapshot("encoder_noise=false", mode=mode), case(mode).images)
    assert np.allclose(found.state, expected.state, atol=1e-5)
    assert np.allclose(found.probabilities, expected.probabilities, atol=1e-5)
    assert found.circuits == found.shots == 0


@pytest.mark.parametrize("mode", ["implicit", "direct"])
def test_intervals_are_centred_on_the_answer_and_as_wide_as_draws_scatter(mode: str) -> None:
    surrogate = on_surrogate(2000, mode)
    images = case(mode).images
    found = bootstrap(surrogate, measured(2000, mode), images, replicates=300, seed=1)
    own = evaluate(surrogate, images)
    assert ((found.low < own.state) & (own.state < found.high)).all()
    # Draws of one's own, solved one by one through the classifier.
    states, labels = [], []
    for operators in measured(2000, mode).replicates(40, seed=9):
        # As if each output's operator had been measured by one preparation of its own.
        drawn = replace(measured(2000, mode), values=torch.eye(4).double(), duals=operators, uncorrected=operators)
        each = evaluate(case(mode).classifier.on_backend(SurrogateBackend.of(drawn)), images)
        states.append(each.state)
        labels.append(each.predicted)
    spread = np.std(states, axis=0)
    assert np.median((found.high - found.low) / (2 * 1.96 * spread)) == pytest.approx(1, abs=0.12)
    assert np.allclose(found.confidence, (np.array(labels) == own.predicted).mean(axis=0), atol=0.25)
    accuracies = (np.array(labels) == images.labels).mean(axis=1)
    low, high = found.accuracy_interval
    assert low <= np.median(accuracies) <= high
    assert found.figures()["replicates"] == 300


def test_without_shots_intervals_have_no_width_and_classes_are_sure() -> None:
    found = bootstrap(on_surrogate(None), measured(None), case().images, replicates=5)
    assert found.half_width.max() < 1e-8
    assert (found.confidence == 1).all()
    assert found.accuracy_interval[0] == found.accuracy_interval[1]


def expected() -> Offset:
    here = case()
    return expected_offset(here.classifier, here.images, here.compiled, here.noise)


def test_the_expected_offset_is_from_the_ideal_to_the_noisy_encoder_of_the_snapshot() -> None:
    images = case().images
    ideal, noisy = (evaluate(on_snapshot(f"encoder_noise={flag}"), images) for flag in ("false", "true"))
    found = expected()
    assert np.allclose(found.moved, noisy.state - ideal.state, atol=2e-4)
    assert found.displacement.quartiles() is not None
    distances = np.linalg.norm(noisy.state - ideal.state, axis=1)
    assert found.displacement.distance.mean() == pytest.approx(distances.mean(), rel=2e-2)
    assert found.same_predictions == int((ideal.predicted == noisy.predicted).sum())
    assert found.figures()["samples"] == 12


def test_what_is_found_without_shots_is_what_was_expected() -> None:
    images = case().images
    surrogate = on_surrogate(None)
    report = offset_report(
        surrogate, images, evaluate(surrogate, images), evaluate(on_snapshot(), images), expected=expected()
    )
    assert report.found is not None
    found, wanted = report.found.figures(), report.expected.figures()
    assert found["branch_changes"] == wanted["branch_changes"] == 0
    assert found["same_predictions"] == wanted["same_predictions"]
    for name in ("median_displacement", "mean_value_offset", "largest_value_offset"):
        assert found[name] == pytest.approx(wanted[name], rel=2e-2)
    assert [sentence.split()[0] for sentence in report.sentences()] == ["By", "Going"]


def test_a_root_that_lies_where_noise_does_not_move_it_counts_as_another_branch() -> None:
    images = case().images
    surrogate = on_surrogate(None)
    one = evaluate(surrogate, images)
    widths = np.full(12, 0.01)
    other = evaluate(on_snapshot(), images)
    moved = other.state.copy()
    moved[3] += 0.5
    report = offset_report(
        surrogate,
        images,
        replace(one, half_width=widths),
        replace(other, state=moved, half_width=widths),
        expected=expected(),
    )
    assert report.found is not None
    assert report.found.displacement.branch_changes == 1
    assert len(report.found.displacement.distance) == 11


def test_without_circuits_the_report_says_what_is_expected_alone() -> None:
    surrogate, images = on_surrogate(None), case().images
    report = offset_report(surrogate, images, evaluate(surrogate, images), None, expected=expected())
    assert report.figures()["found"] is None
    assert len(report.sentences()) == 1
    assert torch.isfinite(torch.tensor(report.figures()["expected"]["median_displacement"]))
