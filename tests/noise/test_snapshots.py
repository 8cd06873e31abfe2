"""Snapshots of processors against Aer's own model of the whole processor."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit.library import SXGate
from qiskit.providers import QubitProperties
from qiskit.quantum_info import SuperOp
from qiskit.transpiler import InstructionProperties, Target
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.fake_provider import FakeManilaV2, FakeNairobiV2, FakeTorino
from textbook import Compiled

from qdeq_qiskit.backends.kinds import load_backend
from qdeq_qiskit.noise import NoiseRecipe, Snapshot, fake_backends, load_calibration, save_calibration
from qdeq_qiskit.noise.calibration import calibration_text, read_calibration
from qdeq_qiskit.recipes import RecipeError

PLACES = {"fake_manila": (FakeManilaV2, (3, 1, 2)), "fake_nairobi": (FakeNairobiV2, (5, 3, 1))}


def native(seed: int = 0) -> QuantumCircuit:
    """On three wires, of which 0–1 or 1–2 are coupled where this is put."""
    angles = iter(np.random.default_rng(seed).uniform(-3, 3, 6))
    circuit = QuantumCircuit(3)
    for wire in range(3):
        circuit.sx(wire)
        circuit.rz(next(angles), wire)
    for pair in ((0, 2), (2, 1), (1, 2)):
        circuit.cx(*pair)
        circuit.x(pair[0])
        circuit.sx(pair[1])
    circuit.delay(2.5e-6, 0, unit="s")
    return circuit


def place(name: str) -> tuple[type, Compiled]:
    """The fake backend, and a circuit on three of its qubits: wires 0 and 2, 2 and 1 are coupled."""
    backend, qubits = PLACES[name]
    circuit = native()
    if name == "fake_nairobi":
        circuit = QuantumCircuit(3)
        circuit.compose(native(1), [0, 2, 1], inplace=True)
    return backend, Compiled(circuit, qubits)


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("idle", [False, True])
def test_a_snapshot_is_aers_noise_of_the_whole_processor_on_the_qubits_in_use(name: str, idle: bool) -> None:
    backend, compiled = place(name)
    model = NoiseModel.from_backend(backend())
    recipe = NoiseRecipe(sources=[{"kind": "snapshot", "name": name, "idle_relaxation": idle}])
    noise = recipe.build(compiled)
    for (gate, qubits), superop in noise.errors.items():
        physical = tuple(compiled.physical[wire] for wire in qubits)
        expected = SuperOp(model._local_quantum_errors[gate][physical].to_quantumchannel()).data
        np.testing.assert_array_equal(superop, expected)
    assert {gate for gate, _ in noise.errors} == {"id", "sx", "x", "cx"}
    for wire, qubit in enumerate(compiled.physical):
        expected = model._local_readout_errors[(qubit,)].probabilities.T
        np.testing.assert_array_equal(noise.assignment(wire), expected)

    wide = QuantumCircuit(backend().num_qubits)
    wide.compose(compiled.circuit, list(compiled.physical), inplace=True)
    if not idle:
        model._custom_noise_passes.clear()
    wide.save_density_matrix(list(compiled.physical))
    expected = AerSimulator(method="density_matrix", noise_model=model).run(wide).result().data()["density_matrix"]
    narrow = compiled.circuit.copy()
    narrow.save_density_matrix()
    aer = AerSimulator(method="density_matrix", noise_model=noise.to_aer())
    actual = aer.run(narrow).result().data()["density_matrix"]
    # Aer itself converts relaxation with T2 > T1 to 1e-8 only.
    np.testing.assert_allclose(actual, expected, atol=1e-8 if idle else 1e-10, rtol=0)


def test_a_snapshot_is_scaled_by_applying_its_error_again() -> None:
    _, compiled = place("fake_manila")
    recipe = NoiseRecipe(sources=[{"kind": "snapshot", "name": "fake_manila", "idle_relaxation": True}])
    once, twice, half = (recipe.scaled(factor).build(compiled) for factor in (1, 2, 0.5))
    for location, superop in once.errors.items():
        np.testing.assert_allclose(twice.errors[location], superop @ superop, atol=1e-15)
        np.testing.assert_allclose(half.errors[location], (np.eye(len(superop)) + superop) / 2, atol=1e-15)
    np.testing.assert_allclose(twice.assignment(0), once.assignment(0) @ once.assignment(0))
    channel = once.channel("delay", (0,), 1e-6).data
    np.testing.assert_allclose(twice.channel("delay", (0,), 1e-6).data, channel @ channel, atol=1e-15)


@pytest.mark.filterwarnings("error")
def test_a_snapshot_is_scaled_up_to_a_million_and_no_further() -> None:
    _, compiled = place("fake_manila")
    recipe = NoiseRecipe.load("fake_manila")
    most = recipe.scaled(1e6).build(compiled)
    for superop in most.errors.values():
        dim = round(len(superop) ** 0.5)
        np.testing.assert_allclose(np.eye(dim).ravel() @ superop, np.eye(dim).ravel(), atol=1e-8)  # keeps the trace
    with pytest.raises(ValueError, match=r"^scale is 1e\+17, but .* the largest scale here is 1,000,000$"):
        recipe.scaled(1e17)
    with pytest.raises(RecipeError, match=r"^--set scale=1e30: scale is 1e\+30.*1,000,000$"):
        NoiseRecipe.load("fake_manila", ["scale=1e30"])
    with pytest.raises(RecipeError, match=r"^--set scale=2e6: scale is 2e\+06.*1,000,000$"):
        load_backend("snapshot_manila", ["scale=2e6"])
    with pytest.raises(ValueError, match="the largest scale here is 1,000,000"):
        recipe.build(compiled).scaled(1e7)


def test_t2_above_twice_t1_is_cut_as_aer_does_and_logged_with_its_qubit(caplog: pytest.LogCaptureFixture) -> None:
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    circuit.cz(0, 1)
    with caplog.at_level(logging.WARNING):
        noise = Snapshot.fake("fake_torino").noise(Compiled(circuit, (22, 23)), idle_relaxation=True)
    assert [record for record in caplog.messages if "fake_torino: qubit 23" in record and "2·T1" in record]
    assert not [record for record in caplog.messages if "qubit 44" in record], "a qubit that is not in use"
    t1, t2 = noise.idle[1]
    assert t2 == 2 * t1
    assert SuperOp(noise.errors["cz", (0, 1)]).is_cptp()


@pytest.mark.parametrize("suffix", ["yaml", "json"])
def test_a_saved_calibration_gives_the_same_noise_and_the_same_processor(tmp_path, suffix: str) -> None:
    backend, compiled = place("fake_nairobi")
    path = save_calibration(backend(), tmp_path / f"nairobi.{suffix}")
    saved = NoiseRecipe(sources=[{"kind": "snapshot", "calibration": path, "idle_relaxation": True}])
    named = NoiseRecipe(sources=[{"kind": "snapshot", "name": "fake_nairobi", "idle_relaxation": True}])
    one, other = saved.build(compiled), named.build(compiled)
    assert one.noisy_gates == other.noisy_gates
    assert all(np.array_equal(one.errors[key], other.errors[key]) for key in one.errors)
    assert all(np.array_equal(one.assignment(wire), other.assignment(wire)) for wire in range(3))
    assert one.idle == other.idle
    assert saved.idle_relaxation
    assert not NoiseRecipe.load("fake_nairobi").idle_relaxation
    assert saved.describe() == "snapshot of fake_nairobi with idle relaxation"

    target, original = saved.processor, backend().target
    assert isinstance(target, Target)
    assert target.dt == original.dt
    assert target.build_coupling_map().graph.edge_list() == original.build_coupling_map().graph.edge_list()
    for name in ("cx", "sx", "rz", "measure", "delay"):
        for qubits, values in original[name].items():
            read = target[name][qubits]
            assert (read is None) == (values is None)
            assert values is None or (read.duration, read.error) == (values.duration, values.error)
    assert (target.granularity, target.pulse_alignment) == (original.granularity, original.pulse_alignment)


def test_readout_probabilities_of_both_states_are_kept_where_a_processor_tells_them(tmp_path) -> None:
    path = save_calibration(FakeManilaV2(), tmp_path / "manila.json")
    text = path.read_text().replace(
        '"error": 0.0353', '"error": 0.0353, "prob_meas1_prep0": 0.01, "prob_meas0_prep1": 0.06'
    )
    path.write_text(text)
    circuit = QuantumCircuit(1)
    circuit.sx(0)
    noise = load_calibration(path).noise(Compiled(circuit, (0,)))
    np.testing.assert_allclose(noise.assignment(0), [[0.99, 0.06], [0.01, 0.94]])


def test_a_calibration_as_text_is_read_back_to_the_very_same_text() -> None:
    text = calibration_text(Snapshot.fake("fake_torino"))
    again = read_calibration(text, source="here")
    assert again.name == "fake_torino"
    assert again.target["cz"][0, 1].error == FakeTorino().target["cz"][0, 1].error
    assert calibration_text(again) == text
    with pytest.raises(RecipeError, match="here: is not a calibration"):
        read_calibration(text[:1000], source="here")


def test_a_calibration_is_saved_whole_or_not_at_all(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_calibration(FakeManilaV2(), tmp_path / "manila.json")
    before = path.read_text()

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_calibration(FakeNairobiV2(), path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_saved_is_one_line_and_leaves_no_file(tmp_path) -> None:
    backend = FakeManilaV2()
    backend.target.qubit_properties = [QubitProperties(t1=0.0), *backend.target.qubit_properties[1:]]
    with pytest.raises(ValueError, match=r"fake_manila cannot be saved; t1 is 0\.0") as caught:
        save_calibration(backend, tmp_path / "x.json")
    assert "\n" not in str(caught.value)
    with pytest.raises(TypeError, match="expected a BackendV2, not Target"):
        save_calibration(backend.target, tmp_path / "x.json")
    assert not list(tmp_path.iterdir())


def test_relaxation_during_delays_needs_times() -> None:
    target = Target(num_qubits=1)
    target.add_instruction(SXGate(), {(0,): InstructionProperties(error=0.1)})
    circuit = QuantumCircuit(1)
    circuit.sx(0)
    untimed = Snapshot("untimed", target)
    assert untimed.noise(Compiled(circuit, (0,))).errors
    with pytest.raises(ValueError, match="idle_relaxation: untimed gives neither T1 nor T2"):
        untimed.noise(Compiled(circuit, (0,)), idle_relaxation=True)


def test_a_circuit_for_another_processor_is_refused_with_what_is_missing() -> None:
    circuit = QuantumCircuit(2)
    circuit.cx(0, 1)
    recipe = NoiseRecipe.load("fake_torino")
    with pytest.raises(ValueError, match=r"not compiled for fake_torino: it uses cx \(4, 5\).*cz, id, rz, sx, x"):
        recipe.build(Compiled(circuit, (4, 5)))
    with pytest.raises(ValueError, match=r"it uses qubits \[133\].*133 qubits"):
        recipe.build(Compiled(circuit, (4, 133)))


def test_fake_backends_are_found_by_name() -> None:
    assert fake_backends()["fake_torino"] is FakeTorino
    assert NoiseRecipe.load("fake_fez").processor.num_qubits == 156
    assert NoiseRecipe.load("depolarizing").processor is None
