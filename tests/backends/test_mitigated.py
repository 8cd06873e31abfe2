"""Mitigation through Runtime's estimator, against Statevector and the circuits that Aer was given."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from mitigated_circuits import (
    CX,
    DEPOLARIZING,
    READOUT,
    ROW,
    build,
    ideal,
    machine,
    qnn,
    repeated,
    slot_angles,
)
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import DensityMatrix, SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_aer.primitives import SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.kinds import BACKENDS
from qdeq_qiskit.backends.mitigated import MitigatedMachine, check_mitigation, mitigated_machine, readout_corrected
from qdeq_qiskit.backends.runtime import estimation
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.noise import MitigationRecipe, NoiseRecipe


@pytest.fixture
def ran(monkeypatch):
    """(circuits, shots of each) of everything that Aer's sampler is given."""
    jobs = []
    original = SamplerV2.run

    def run(self, pubs, **options):
        jobs.extend((math.prod(pub.parameter_values.shape), pub.shots) for pub in pubs)
        return original(self, pubs, **options)

    monkeypatch.setattr(SamplerV2, "run", run)
    return jobs


@pytest.mark.parametrize("names", ["none", "matrix", "trex", "zne", "twirling", "trex+zne+twirling"])
def test_the_cost_is_what_ran(names, ran):
    compiled, noise = build(DEPOLARIZING, READOUT)
    tested = machine(compiled, noise, names, shots=100)
    # ZI, ZZ and IZ are read in one basis, IX and XX in another.
    recipe = MitigationRecipe.parse(names)
    cost = recipe.overhead(100, num_bases=2)
    tested.run(slot_angles(compiled, ROW.repeat(3, 1)))
    assert sum(circuits for circuits, _ in ran) == cost.circuits(3) == tested.circuits_run
    assert sum(circuits * shots for circuits, shots in ran) == cost.total_shots(3) == tested.shots_run
    assert (tested.rows_run, tested.jobs_run, tested.circuits_per_row) == (
        3,
        1,
        cost.circuits_per_row // cost.randomizations,
    )
    ran.clear()
    tested.run(slot_angles(compiled), shots=500)
    more = recipe.overhead(500, num_bases=2)
    assert (
        sum(circuits * shots for circuits, shots in ran)
        == more.total_shots(1)
        == tested.shots_run - cost.total_shots(3)
    )


@pytest.mark.parametrize("names", ["matrix", "trex"])
def test_readout_mitigation_removes_the_bias_of_the_readout(names):
    compiled, noise = build(READOUT)
    expected = ideal(qnn())
    plain, plain_variances = repeated(compiled, noise, "none", shots=4096, times=8)
    values, variances = repeated(compiled, noise, names, shots=4096, times=8, jobs=8)
    errors = (values.mean(axis=0) - expected) / np.sqrt(variances.mean(axis=0) / 8)
    assert (np.abs(errors) < 4).all()
    plain_errors = (plain.mean(axis=0) - expected) / np.sqrt(plain_variances.mean(axis=0) / 8)
    assert (np.abs(plain_errors) > 5).sum() >= 2


def test_readout_correction_is_exact_on_exact_values():
    compiled, noise = build(READOUT)
    corrected = readout_corrected(compiled, noise)
    # What the readout shows of a state: the observables' values with each outcome mixed by the assignment matrix.
    angles = compiled.angles(slot_angles(compiled))[0].numpy()
    values = []
    for observable in corrected.observables:
        value = 0
        for label, coefficient in observable.to_list():
            state = DensityMatrix(compiled.circuit.assign_parameters(angles).compose(compiled.basis_change(label)))
            joint = np.kron(noise.assignment(1), noise.assignment(0)) @ state.probabilities()
            signs = np.kron(*([1, 1] if pauli == "I" else [1, -1] for pauli in label))
            value += coefficient.real * (signs @ joint)
        values.append(value)
    assert np.allclose(values, ideal(qnn()), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "zne",
    [
        {},
        {"extrapolator": "exponential"},
        {"extrapolator": "polynomial_degree_2"},
        {"noise_factors": [1, 2, 3], "amplifier": "gate_folding_back"},
    ],
)
def test_extrapolation_reduces_the_bias_of_depolarising_gates(zne):
    compiled, noise = build(DEPOLARIZING)
    expected = ideal(qnn())
    plain, _ = repeated(compiled, noise, "none", shots=8192, times=4)
    values, variances = repeated(compiled, noise, {"zne": zne}, shots=8192, times=4)
    error = np.sqrt(variances.mean(axis=0) / 4)
    before, after = np.abs(plain.mean(axis=0) - expected), np.abs(values.mean(axis=0) - expected)
    assert before.max() > 0.04
    assert (after < 0.6 * before.max() + 3 * error).all()
    assert np.linalg.norm(after) < 0.6 * np.linalg.norm(before)


def test_everything_together_brings_a_snapshot_closer_to_the_ideal():
    target = FakeManilaV2()
    compiled = compile_circuit(qnn(), target=target)
    noise = NoiseRecipe.model_validate({"sources": [{"kind": "snapshot", "name": "fake_manila"}]}).build(compiled)
    plain, _ = repeated(compiled, noise, "none", shots=4096, times=5)
    values, _ = repeated(compiled, noise, "trex+zne+twirling", shots=4096, times=5)
    expected = ideal(qnn())
    assert np.linalg.norm(values.mean(axis=0) - expected) < 0.6 * np.linalg.norm(plain.mean(axis=0) - expected)


def test_twirling_turns_a_coherent_error_into_a_random_one():
    """Without twirling, cx errors of one angle add up in phase; the twirled error is that of the Pauli twirl."""
    source = {"kind": "over_rotation", "one_qubit": 0.0, "two_qubit": 0.6}
    compiled, noise = build(source)
    twirled, variances = repeated(compiled, noise, "twirling", shots=8192, times=4)
    circuit = compiled.circuit.assign_parameters(compiled.angles(slot_angles(compiled))[0].numpy())

    def exact(model):
        simulator = AerSimulator(method="density_matrix", noise_model=model.to_aer())
        saved = circuit.copy()
        saved.save_density_matrix()
        state = simulator.run(saved).result().data()["density_matrix"]
        return np.array([DensityMatrix(state).expectation_value(o).real for o in compiled.observables])

    error = np.sqrt(variances.mean(axis=0) / 4)
    assert (np.abs(twirled.mean(axis=0) - exact(noise.twirled())) < 4 * error).all()
    assert (np.abs(exact(noise) - exact(noise.twirled())) > 8 * error).any()


def test_one_seed_repeats_a_machine_and_runs_of_one_machine_differ():
    compiled, noise = build(DEPOLARIZING, READOUT)
    first, second, other = (machine(compiled, noise, "trex+zne+twirling", shots=128, seed=s) for s in (3, 3, 4))
    values = first.run(slot_angles(compiled)).values
    assert torch.equal(values, second.run(slot_angles(compiled)).values)
    assert not torch.equal(values, first.run(slot_angles(compiled)).values)
    assert not torch.equal(values, other.run(slot_angles(compiled)).values)


def test_rows_that_are_not_finite_are_nan_and_do_not_run():
    compiled, noise = build(READOUT)
    tested = machine(compiled, noise, "matrix", shots=64)
    rows = slot_angles(compiled, ROW.repeat(3, 1))
    rows[1, 0] = torch.nan
    measured = tested.run(rows)
    assert torch.isnan(measured.values).any(dim=1).tolist() == [False, True, False]
    assert tested.rows_run == 2
    assert torch.isnan(tested.run(rows[1:2]).values).all()


def test_large_batches_are_divided_among_jobs_with_a_calibration_each(monkeypatch):
    compiled, noise = build(READOUT)
    monkeypatch.setattr(estimation, "_MAX_BYTES", 2 * 2 * 64 * 2)
    tested = machine(compiled, noise, "trex", shots=64)
    values = tested.run(slot_angles(compiled, ROW.repeat(5, 1))).values
    assert values.shape == (5, 4)
    assert tested.jobs_run == 3
    assert tested.circuits_run == tested.cost.circuits(5, jobs=3)


def test_derivatives_follow_the_rules_of_the_source():
    compiled, noise = build({"kind": "depolarizing", "one_qubit": 0.0, "two_qubit": 0.0001})
    tested = machine(compiled, noise, "zne", shots=20000)
    derivatives, _ = tested.differentiate(slot_angles(compiled), [0, 1, 2])
    step = 1e-5
    network = qnn()
    for slot, moved in enumerate([0, 1, 2]):
        plus, minus = ROW[0].clone(), ROW[0].clone()
        plus[moved] += step
        minus[moved] -= step
        expected = (ideal(network, plus) - ideal(network, minus)) / (2 * step)
        assert np.allclose(derivatives[0, :, slot].numpy(), expected, rtol=0, atol=0.06)


def waiting():
    """The wire of x[0] is prepared first and read last, while the other two are busy."""
    x, w = ParameterVector("x", 1), ParameterVector("w", 1)
    circuit = QuantumCircuit(3)
    circuit.ry(x[0], 0)
    circuit.cx(0, 1)
    for _ in range(6):
        circuit.cx(1, 2)
        circuit.ry(w[0], 1)
    circuit.cx(0, 1)
    return QNNCircuit(circuit, x, w, [SparsePauliOp("IIZ"), SparsePauliOp("IIX")])


def waiting_on_manila(idle_relaxation=True):
    compiled = compile_circuit(waiting(), target=FakeManilaV2(), idle=True, optimization_level=1)
    source = {"kind": "snapshot", "name": "fake_manila", "idle_relaxation": idle_relaxation}
    return compiled, NoiseRecipe.model_validate({"sources": [source]}).build(compiled)


@pytest.mark.parametrize(("sequence", "pulses"), [("XX", 2), ("XpXm", 2), ("XY4", 4)])
def test_decoupling_puts_pulses_on_waiting_wires_and_the_rest_of_the_waiting_relaxes(sequence, pulses, monkeypatch):
    compiled, noise = waiting_on_manila()
    circuits = []
    original = SamplerV2.run

    def run(self, pubs, **options):
        circuits.extend(pub.circuit for pub in pubs)
        return original(self, pubs, **options)

    monkeypatch.setattr(SamplerV2, "run", run)
    rows = compiled.source.angle_map.compile()(torch.tensor([[2.8, 0.0]], dtype=torch.float64))
    plain = machine(compiled, noise, "none", shots=50_000).run(rows).values
    untimed = dataclasses.replace(noise, dt=None)
    decoupled = machine(compiled, untimed, {"dynamical_decoupling": sequence}, shots=50_000).run(rows).values
    before, after = (circuit.count_ops().get("x", 0) for circuit in circuits)
    assert after - before >= pulses
    assert (after - before) % pulses == 0
    # |1⟩ decays while it waits; turned to |0⟩ and back it decays for half of the time.
    assert decoupled[0, 0] < plain[0, 0] - 0.002


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        ("zne", {"shots": None}, "shots is null"),
        ("trex", {"shots": 0}, "shots must be at least 1, not 0"),
        ("zne", {"basis_gates": None}, "rz and sx before measurements"),
        ("zne", {"coupling": "rzz"}, "zne: it folds cx, cy, cz, ecr, swap, but the compiled circuit has rzz"),
        ("twirling", {"coupling": "rzz"}, "twirling: it twirls cx, cz, ecr, but the compiled circuit has rzz"),
        ("dd", {}, "processor's durations, and there is none"),
        ("matrix", {"readout": 0.5}, "sum to less than 1"),
        ("trex", {"readout": 0.5}, "sum to less than 1"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_an_error_with_the_reason(names, options, message, ran):
    basis = [*CX, "rzz"] if options.get("basis_gates", CX) else None
    compiled = compile_circuit(qnn(coupling=options.get("coupling", "cx")), basis_gates=basis)
    readout = {"kind": "readout", "error": options.get("readout", 0.1)}
    noise = NoiseRecipe.model_validate({"sources": [readout]}).build(compiled)
    with pytest.raises(ValueError, match=message):
        mitigated_machine(compiled, noise, MitigationRecipe.parse(names), shots=options.get("shots", 64), seed=0)
    assert not ran


def test_decoupling_without_relaxation_is_an_error():
    compiled, noise = waiting_on_manila(idle_relaxation=False)
    with pytest.raises(ValueError, match=r"nothing to decouple.*idle_relaxation: true"):
        check_mitigation(compiled, noise, MitigationRecipe.parse("dd"), 64)


def test_decoupling_without_room_for_a_pulse_is_an_error():
    compiled = compile_circuit(qnn(), target=FakeManilaV2(), idle=True)
    source = {"kind": "snapshot", "name": "fake_manila", "idle_relaxation": True}
    noise = NoiseRecipe.model_validate({"sources": [source]}).build(compiled)
    with pytest.raises(ValueError, match="no wire waits long enough for a sequence XX"):
        check_mitigation(compiled, noise, MitigationRecipe.parse("dd"), 64)


def test_folding_and_twirling_without_two_qubit_gates_are_errors():
    x, w = ParameterVector("x", 1), ParameterVector("w", 1)
    circuit = QuantumCircuit(1)
    circuit.rx(x[0], 0)
    circuit.ry(w[0], 0)
    compiled = compile_circuit(QNNCircuit(circuit, x, w, [SparsePauliOp("Z")]), basis_gates=CX)
    noise = NoiseRecipe.model_validate({"sources": [READOUT]}).build(compiled)
    for names in ("zne", "twirling"):
        with pytest.raises(ValueError, match=f"{names}: .* two-qubit gates, and the compiled circuit has none"):
            check_mitigation(compiled, noise, MitigationRecipe.parse(names), 64)


def backend(**options):
    noise = {"sources": [DEPOLARIZING, READOUT]}
    return BACKENDS["noisy"].model_validate({"noise": noise, "basis_gates": CX, **options})


@pytest.mark.parametrize("method", ["effective", "aer"])
def test_a_backend_inverts_the_readout_of_exact_values(method):
    features, weight = ROW[:, :2], torch.nn.Parameter(ROW[0, 2:])
    without = backend(noise={"sources": [DEPOLARIZING]}, method=method, precision="double")
    layer = backend(mitigation="matrix", method=method, precision="double").layer(qnn(), weight)
    with torch.no_grad():
        expected = without.layer(qnn(), weight)(features)
        plain = backend(method=method, precision="double").layer(qnn(), weight)(features)
        assert torch.allclose(layer(features), expected, rtol=0, atol=1e-10)
        assert not torch.allclose(plain, expected, rtol=0, atol=1e-2)


@pytest.mark.parametrize("names", ["matrix", "trex", "trex+zne"])
def test_a_backend_with_shots_mitigates(names):
    layer = backend(mitigation=names, shots=20_000).layer(qnn(), torch.nn.Parameter(ROW[0, 2:]))
    values = layer(ROW[:, :2]).detach().numpy()[0]
    without = backend(noise={"sources": [DEPOLARIZING]}, precision="double")
    expected = without.layer(qnn(), torch.nn.Parameter(ROW[0, 2:]))(ROW[:, :2]).detach().numpy()[0]
    assert np.allclose(values, ideal(qnn()) if "zne" in names else expected, rtol=0, atol=0.06)
    assert isinstance(layer.machine, MitigatedMachine) == (names != "matrix")
    assert layer.cost(2).shots_per_circuit == 20_000
    assert layer.cost(2).circuits_per_value == (6 if "zne" in names else 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mitigation": "zne"}, "zne runs circuits with shots, and shots is null"),
        ({"mitigation": "trex", "shots": 64, "method": "effective"}, "method cannot be effective"),
        ({"mitigation": "trex", "shots": 64, "encoder_noise": False}, "encoder_noise cannot be false"),
        ({"mitigation": "rex", "shots": 64}, "there is no mitigation 'rex'"),
    ],
)
def test_a_backend_refuses_what_it_cannot_mitigate_when_it_is_read(options, message):
    with pytest.raises(ValueError, match=message):
        backend(**options)


def test_a_backend_says_how_it_mitigates():
    assert backend(mitigation="trex+zne", shots=64).describe().endswith("64 shots, trex+zne")
    assert backend(mitigation="none", shots=64).describe().endswith("64 shots")
