"""Noise recipes: what ships, what is refused, and what the refusal says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import textbook
from qiskit import QuantumCircuit
from qiskit.circuit import Delay
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from qiskit_aer.noise.passes import RelaxationNoisePass
from textbook import Compiled, compiled, random_circuit

from qdeq_qiskit import recipes
from qdeq_qiskit.noise import CircuitNoise, NoiseRecipe, check_touched, load_calibration, save_calibration
from qdeq_qiskit.recipes import RecipeError

QUBIT = '{"format": "qdeq-calibration-1", "processor": "x", "qubits": [{}], "gates": %s}'


def refusal(folder: Path, text: str, *overrides: str) -> str:
    path = folder / "bad.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError) as caught:
        NoiseRecipe.load(path, list(overrides))
    message = str(caught.value)
    assert "\n" not in message
    assert "problems" not in message, "one mistake is one error"
    return message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[{kind: depolarizing, one_qubit: 1.2}]", ["bad.yaml: sources.0.one_qubit: 1.2", "less than or equal to 1"]),
        ("[{kind: phase_damping, two_qubit: -0.1}]", ["sources.0.two_qubit: -0.1", "greater than or equal to 0"]),
        ("[{kind: amplitude_damping, two_qubit: .nan}]", ["sources.0.two_qubit", "expected a finite number"]),
        ("[{kind: depolarising}]", ["sources.0: kind is 'depolarising'", "did you mean 'depolarizing'?"]),
        ("[{kind: depolarizing, onequbit: 0.1}]", ["unknown key 'onequbit'", "did you mean 'one_qubit'?"]),
        ("[{kind: depolarizing, virtual: [RZ]}]", ["sources.0.virtual: ['RZ']", "did you mean 'rz'?"]),
        ("[{kind: readout, error: 1.5}]", ["sources.0.error: 1.5", "expected a probability from 0 to 1"]),
        (
            "[{kind: readout, error: [0.1, -1]}]",
            ["sources.0.error: [0.1, -1]", "[reading 1 after 0, reading 0 after 1]"],
        ),
        ("[{kind: readout, error: [0.1]}]", ["sources.0.error: [0.1]", "or two of them"]),
        (
            "[{kind: thermal_relaxation, t1: 1e-4, t2: 3e-4, durations: {two_qubit: 1e-8}}]",
            ["sources.0: t2 is 0.0003 s", "more than twice t1", "at most 0.0002"],
        ),
        ("[{kind: snapshot, name: fake_tornio}]", ["sources.0.name: 'fake_tornio'", "did you mean 'fake_torino'?"]),
        ("[{kind: snapshot}]", ["either name", "or calibration", "neither is given"]),
        ("[{kind: snapshot, calibration: gone.json}]", ["gone.json", "there is no such calibration file"]),
        (
            "[{kind: snapshot, name: fake_manila}, {kind: snapshot, name: fake_torino}]",
            ["sources has 2 snapshots", "keep one of them"],
        ),
        ("[{kind: aer, model: 3}]", ["sources.0.model: 3", "can be given in Python only"]),
        ("[{kind: depolarizing}, {kind: readout, error: 0.1}]", ["sources.0: it gives no gate an error"]),
        (
            "[{kind: thermal_relaxation, t1: 1, t2: 1, durations: {}}]",
            ["sources.0: it gives no gate an error; set one_qubit, two_qubit or both"],
        ),
        ("[]", ["sources: [] is not valid", "at least one source"]),
        (
            "[{kind: depolarizing, two_qubit: 0.2}]\nscale: 6",
            ["scale 6 drives two_qubit from 0.2 to 1.2", "scale here is 5"],
        ),
        (
            "[{kind: readout, error: [0.1, 0.4]}]\nscale: 3",
            ["scale 3 drives error from 0.4 to 1.2", "scale here is 2.5"],
        ),
        ("[{kind: readout, error: 0.1}]\nscale: -1", ["scale: -1", "greater than or equal to 0"]),
    ],
)
def test_a_mistake_is_one_line_with_the_key_the_value_and_what_would_be_right(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    message = refusal(tmp_path, f"sources: {text}")
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ('{"format": "qdeq-cal', "is not valid YAML"),
        ('{"backend_name": "ibm_x", "gates": []}', "is not a calibration: its format is None"),
        ("[1, 2]", "a mapping of keys to values"),
        (
            QUBIT % '{"sx": {"0": {"error": 1.3}}}',
            "gates.sx.0.error: 1.3 is not valid; expected a number less than or equal to 1",
        ),
        (QUBIT % '{"sx": {"4": {}}}', "gates.sx has '4'; expected 1 of the qubits 0 to 0"),
        (
            QUBIT.replace("[{}]", "[{}, {}]") % '{"cz": {"1-1": {}}}',
            "gates.cz has '1-1'; expected 2 of the qubits 0 to 1",
        ),
        (QUBIT.replace("[{}]", "[{}, {}]") % '{"cz": {"00-1": {}}}', "gates.cz has '00-1'"),
        (
            QUBIT % '{"measure": {"0": {"prob_meas1_prep0": 0.1}}}',
            "prob_meas1_prep0 is given alone; a readout has both",
        ),
        (QUBIT % '{}, "timing": {"granularity": -3}', "timing.granularity: -3 is not valid"),
        (QUBIT % '{"warp": {"0": {}}}', "'warp', which is not a gate of Qiskit's standard library"),
        (QUBIT.replace("{}", '{"t1": -1}') % "{}", "qubits.0.t1: -1 is not valid; expected a number greater than 0"),
    ],
)
def test_a_calibration_that_is_damaged_or_something_else_is_named_with_the_reason(
    tmp_path: Path, content: str, part: str
) -> None:
    (tmp_path / "torino.json").write_text(content)
    assert part in refusal(tmp_path, "sources: [{kind: snapshot, calibration: torino.json}]")
    with pytest.raises(RecipeError, match=r"torino\.json"):
        load_calibration(tmp_path / "torino.json")


def test_a_calibration_is_found_beside_the_recipe_that_names_it(tmp_path: Path) -> None:
    from qiskit_ibm_runtime.fake_provider import FakeManilaV2

    save_calibration(FakeManilaV2(), tmp_path / "manila.yaml")
    (tmp_path / "mine.yaml").write_text("sources: [{kind: snapshot, calibration: manila.yaml}]")
    assert NoiseRecipe.load(tmp_path / "mine.yaml").processor.num_qubits == 5
    with pytest.raises(ValueError, match=r"manila\.txt: a calibration file ends in \.yaml, \.yml, \.json"):
        save_calibration(FakeManilaV2(), tmp_path / "manila.txt")


def test_a_factor_that_drives_a_probability_out_of_range_is_refused_in_python_too() -> None:
    recipe = NoiseRecipe(sources=[{"kind": "depolarizing", "two_qubit": 0.3}], scale=2)
    assert recipe.scaled(1.5).scale == 3
    with pytest.raises(ValueError, match=r"scale 4 drives two_qubit from 0\.3 to 1\.2") as caught:
        recipe.scaled(2)
    assert "\n" not in str(caught.value)
    for factor in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a finite factor of at least 0"):
            recipe.scaled(factor)


def test_every_shipped_recipe_can_be_built_and_scaled_and_says_what_it_is() -> None:
    entries = recipes.list_recipes("noise")
    assert len([entry for entry in entries if entry.name.startswith("fake_")]) >= 6
    for entry in entries:
        assert entry.description
        assert len(entry.description) < 120
        recipe = NoiseRecipe.load(entry.name)
        assert recipe.describe()
        assert NoiseRecipe.model_validate(recipe.model_dump()) == recipe
        if recipe.processor is None:
            noise = recipe.scaled(1.5).build(compiled(random_circuit(0)))
            check_touched(random_circuit(0), noise, allow_untouched=entry.name == "readout")


def test_a_dumped_recipe_reads_back_equal(tmp_path: Path) -> None:
    recipe = NoiseRecipe.load("twirled", "scale=0.5")
    (tmp_path / "again.yaml").write_text(recipes.dump(recipe))
    assert NoiseRecipe.load(tmp_path / "again.yaml") == recipe


def test_noise_that_touches_no_gate_of_the_circuit_is_refused_with_both_sets() -> None:
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    circuit.cz(0, 1)
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.01, 2), "cx")
    noise = NoiseRecipe(sources=[{"kind": "aer", "model": model}]).build(compiled(circuit))
    with pytest.raises(ValueError, match=r"touches none.*the circuit has cz \(0, 1\), sx \(0\); the noise is about cx"):
        check_touched(circuit, noise, allow_untouched=True)


def test_a_two_qubit_gate_without_an_error_is_refused_unless_that_is_meant() -> None:
    circuit = random_circuit(0, names=("sx", "rz", "cz"), size=8)
    noise = NoiseRecipe(sources=[{"kind": "depolarizing", "one_qubit": 0.01}]).build(compiled(circuit))
    with pytest.raises(ValueError, match=r"two-qubit gates without an error: cz.*one-qubit gates but rz.*touches sx"):
        check_touched(circuit, noise, allow_untouched=False)
    with pytest.raises(ValueError, match=r"allow_untouched: true, a key of the backend"):
        check_touched(circuit, noise, allow_untouched=False)
    check_touched(circuit, noise, allow_untouched=True)


def test_noise_of_readout_only_is_about_no_gate_and_accepted() -> None:
    circuit = random_circuit(0)
    for scale in (0, 1):
        check_touched(
            circuit, NoiseRecipe.load("readout").scaled(scale).build(compiled(circuit)), allow_untouched=False
        )


def test_gates_of_three_qubits_are_refused() -> None:
    circuit = QuantumCircuit(3)
    circuit.ccx(0, 1, 2)
    with pytest.raises(ValueError, match="'ccx' has 3 qubits"):
        NoiseRecipe.load("depolarizing").build(compiled(circuit))


def test_a_gate_without_an_axis_is_refused_by_over_rotation_unless_it_is_virtual() -> None:
    circuit = QuantumCircuit(2)
    circuit.swap(0, 1)
    with pytest.raises(ValueError, match="'swap' has no axis of its own"):
        NoiseRecipe.load("over_rotation").build(compiled(circuit))
    source = {"kind": "over_rotation", "one_qubit": 0.1, "two_qubit": 0.1, "virtual": ["swap"]}
    assert ("swap", (0, 1)) not in NoiseRecipe(sources=[source]).build(compiled(circuit)).noisy_gates


def test_gates_that_come_after_compilation_have_errors_too() -> None:
    circuit = QuantumCircuit(2)
    circuit.cz(0, 1)
    noisy = NoiseRecipe.load("depolarizing").build(compiled(circuit)).noisy_gates
    assert {("sx", (0,)), ("x", (1,)), ("h", (1,)), ("sdg", (0,))} <= noisy
    circuit.u(1, 2, 3, 0)
    assert ("u", (1,)) in NoiseRecipe.load("depolarizing").build(compiled(circuit)).noisy_gates
    del circuit.data[-1]
    circuit.cz(1, 0)
    snapshot = NoiseRecipe.load("fake_torino").build(Compiled(circuit, (0, 1))).noisy_gates
    assert {("sx", (0,)), ("x", (1,)), ("cz", (1, 0))} <= snapshot


def test_noise_models_that_are_more_than_errors_at_gates_are_refused() -> None:
    gates = [("sx", (0,))]
    joint = NoiseModel()
    joint.add_readout_error(ReadoutError([[0.9, 0.1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), [0, 1])
    with pytest.raises(ValueError, match="joint readout error of qubits"):
        CircuitNoise.from_aer(joint, gates)
    measured = NoiseModel()
    measured.add_all_qubit_quantum_error(depolarizing_error(0.1, 1), ["sx", "measure"])
    with pytest.raises(ValueError, match="a quantum error at measurements, which would be lost"):
        CircuitNoise.from_aer(measured, gates)
    everywhere = NoiseModel()
    everywhere._custom_noise_passes.append(RelaxationNoisePass([1e-4], [1e-4]))
    with pytest.raises(ValueError, match="a pass of its own"):
        CircuitNoise.from_aer(everywhere, gates)


def relaxing_in_delays(t1s: list[float], t2s: list[float]) -> NoiseModel:
    model = NoiseModel()
    model._custom_noise_passes.append(RelaxationNoisePass(t1s, t2s, op_types=Delay))
    return model


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (([1e-4], [1e-4]), "lets 1 qubits relax during delays, and the circuit uses qubit 1"),
        (([1e-4, 1e-4], [1e-4, 3e-4]), r"qubit 1 relax .* T2 = 0\.0003 s; T2 is positive and at most 2·T1"),
        (([1e-4, float("nan")], [1e-4, 1e-4]), "T1 = nan s"),
    ],
)
def test_relaxation_that_no_qubit_has_is_refused(times: tuple[list[float], list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CircuitNoise.from_aer(relaxing_in_delays(*times), [("sx", (0,)), ("sx", (1,))])


def test_the_gates_of_the_circuit_that_noise_touches_are_told_in_one_call() -> None:
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    circuit.rz(0.1, 1)
    circuit.cz(1, 0)
    for recipe in (NoiseRecipe.load("depolarizing"), NoiseRecipe.load("fake_torino").scaled(0)):
        noise = recipe.build(compiled(circuit))
        assert noise.touched(circuit) == {("sx", (0,)), ("cz", (1, 0))}
        assert noise.touched(circuit) < noise.noisy_gates


def test_a_processor_without_gate_errors_does_not_pass_for_noise_of_readout(tmp_path: Path) -> None:
    gates = '{"sx": {"0": {}, "1": {}}, "cz": {"0-1": {}}, "measure": {"0": {"error": 0.1}, "1": {"error": 0.1}}}'
    (tmp_path / "x.json").write_text(QUBIT.replace("[{}]", "[{}, {}]") % gates)
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    circuit.cz(0, 1)
    noise = load_calibration(tmp_path / "x.json").noise(compiled(circuit))
    with pytest.raises(ValueError, match=r"touches none.*about the gates of x, all of them without an error"):
        check_touched(circuit, noise, allow_untouched=True)


def test_noise_of_different_widths_is_not_joined_and_a_built_one_cannot_be_changed() -> None:
    noise = NoiseRecipe.load("readout").build(compiled(random_circuit(0)))
    with pytest.raises(ValueError, match="3 wires cannot be joined to noise of 2"):
        noise.then(CircuitNoise(2))
    with pytest.raises(TypeError):
        noise.errors["sx", (0,)] = textbook.PAULIS["X"]


def test_the_noise_floor_needs_neither_torch_nor_aer_until_it_meets_aer() -> None:
    code = (
        "import sys; from qiskit import QuantumCircuit; from types import SimpleNamespace\n"
        "from qdeq_qiskit.noise import NoiseRecipe, check_touched\n"
        "circuit = QuantumCircuit(2); circuit.cz(0, 1)\n"
        "compiled = SimpleNamespace(circuit=circuit, physical=(0, 1), target=None)\n"
        "check_touched(circuit, NoiseRecipe.load('twirled').build(compiled), allow_untouched=False)\n"
        "heavy = {'torch', 'qiskit_aer', 'qiskit_ibm_runtime', 'qdeq_qiskit.backends'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
