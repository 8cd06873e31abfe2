"""Every source of noise, on Aer, against textbook Kraus operators on a density matrix evolved by hand."""

from __future__ import annotations

import numpy as np
import pytest
import textbook
from qiskit import QuantumCircuit
from qiskit.quantum_info import DensityMatrix, Kraus
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, amplitude_damping_error, pauli_error
from textbook import compiled, evolved, on_each, random_circuit

from qdeq_qiskit.noise import CircuitNoise, NoiseRecipe, check_touched

T1, T2 = 90e-6, 120e-6
TIMES = {1: 60e-9, 2: 400e-9}
EPSILON = {1: 0.03, 2: -0.08}
P = {1: 0.004, 2: 0.03}


def on_aer(circuit: QuantumCircuit, noise: CircuitNoise) -> np.ndarray:
    """The density matrix that Aer gives."""
    saved = circuit.copy()
    saved.save_density_matrix()
    simulator = AerSimulator(method="density_matrix", noise_model=noise.to_aer())
    return np.asarray(simulator.run(saved).result().data()["density_matrix"])


def by_channels(circuit: QuantumCircuit, noise: CircuitNoise) -> np.ndarray:
    """The density matrix that `CircuitNoise.channel` gives."""
    state = DensityMatrix.from_label("0" * circuit.num_qubits)
    for instruction in circuit.data:
        qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
        state = state.evolve(instruction.operation, list(qubits))
        channel = noise.channel(instruction.operation.name, qubits)
        state = state if channel is None else state.evolve(channel, list(qubits))
    return np.asarray(state.data)


def both_sizes(kind: str, **values: float) -> dict[str, object]:
    return {"kind": kind, "one_qubit": P[1], "two_qubit": P[2], **values}


def unless_virtual(error: textbook.ErrorAfter) -> textbook.ErrorAfter:
    return lambda name, size: None if name in ("rz", "id") else error(name, size)


def relaxing(scale: float = 1.0) -> textbook.ErrorAfter:
    return unless_virtual(lambda _, size: on_each(textbook.relaxation(T1, T2, scale * TIMES[size]), size))


THERMAL = {
    "kind": "thermal_relaxation",
    "t1": T1,
    "t2": T2,
    "durations": {"one_qubit": TIMES[1], "two_qubit": TIMES[2]},
}
ROTATING = {"kind": "over_rotation", "one_qubit": EPSILON[1], "two_qubit": EPSILON[2]}
SOURCES = {
    "depolarizing": (both_sizes("depolarizing"), unless_virtual(lambda _, n: textbook.depolarizing(P[n], n))),
    "amplitude_damping": (
        both_sizes("amplitude_damping"),
        unless_virtual(lambda _, n: on_each(textbook.amplitude_damping(P[n]), n)),
    ),
    "phase_damping": (
        both_sizes("phase_damping"),
        unless_virtual(lambda _, n: on_each(textbook.phase_damping(P[n]), n)),
    ),
    "thermal_relaxation": (THERMAL, relaxing()),
    "over_rotation": (ROTATING, unless_virtual(lambda name, n: textbook.over_rotation(name, EPSILON[n]))),
    "with noisy rz": (
        both_sizes("depolarizing", virtual=[]),
        lambda _, n: textbook.depolarizing(P[n], n),
    ),
    "two-qubit gates only": (
        {"kind": "depolarizing", "two_qubit": P[2]},
        lambda _, n: textbook.depolarizing(P[2], 2) if n == 2 else None,
    ),
}


def agree(circuit: QuantumCircuit, recipe: NoiseRecipe, error: textbook.ErrorAfter) -> None:
    noise = recipe.build(compiled(circuit))
    check_touched(circuit, noise, allow_untouched=False)
    expected = evolved(circuit, error).data
    ideal = evolved(circuit, lambda *_: None).data
    assert np.abs(expected - ideal).max() > 1e-4, "the noise must be seen"
    np.testing.assert_allclose(on_aer(circuit, noise), expected, atol=1e-10, rtol=0)
    np.testing.assert_allclose(by_channels(circuit, noise), expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SOURCES)
def test_every_source_is_its_textbook_channel(name: str, seed: int) -> None:
    source, error = SOURCES[name]
    agree(random_circuit(seed), NoiseRecipe(sources=[source]), error)


def test_sources_act_in_the_order_in_which_they_are_listed() -> None:
    def error(first: str, second: str) -> textbook.ErrorAfter:
        return lambda name, size: (
            None if name == "rz" else textbook.in_turn(SOURCES[first][1](name, size), SOURCES[second][1](name, size))
        )

    circuit = random_circuit(7, size=12)
    for pair in (("over_rotation", "amplitude_damping"), ("amplitude_damping", "over_rotation")):
        agree(circuit, NoiseRecipe(sources=[SOURCES[name][0] for name in pair]), error(*pair))
    one, other = (
        evolved(circuit, error(*pair)).data
        for pair in (("over_rotation", "amplitude_damping"), ("amplitude_damping", "over_rotation"))
    )
    assert np.abs(one - other).max() > 1e-6, "the order must matter"


@pytest.mark.parametrize("scale", [0.4, 1.7, 3.0])
def test_a_scaled_source_is_the_textbook_channel_with_its_own_parameter_scaled(scale: float) -> None:
    scaled = {
        "depolarizing": lambda _, n: textbook.depolarizing(scale * P[n], n),
        "amplitude_damping": lambda _, n: on_each(textbook.amplitude_damping(1 - (1 - P[n]) ** scale), n),
        "phase_damping": lambda _, n: on_each(textbook.phase_damping(1 - (1 - P[n]) ** scale), n),
        "thermal_relaxation": relaxing(scale),
        "over_rotation": lambda name, n: textbook.over_rotation(name, scale * EPSILON[n]),
    }
    circuit = random_circuit(11, size=12)
    for name, error in scaled.items():
        recipe = NoiseRecipe(sources=[SOURCES[name][0]])
        agree(circuit, recipe.scaled(scale), unless_virtual(error))
        assert NoiseRecipe(sources=[SOURCES[name][0]], scale=scale) == recipe.scaled(scale)


@pytest.mark.parametrize("name", ["amplitude_damping", "thermal_relaxation", "over_rotation"])
def test_a_twirled_error_is_the_average_over_pauli_conjugations(name: str) -> None:
    source, error = SOURCES[name]

    def averaged(gate: str, size: int) -> list[np.ndarray] | None:
        operators = error(gate, size)
        return None if operators is None else textbook.twirled(operators)

    agree(random_circuit(5, size=12), NoiseRecipe(sources=[source], twirled=True), averaged)


def test_noise_scaled_to_zero_is_none_but_still_touches_its_gates() -> None:
    circuit = random_circuit(2)
    for source, _ in SOURCES.values():
        noise = NoiseRecipe(sources=[source], scale=0).build(compiled(circuit))
        check_touched(circuit, noise, allow_untouched=False)
        assert all(noise.channel(*location) is None for location in noise.noisy_gates)
        assert noise.to_aer().is_ideal()


def test_any_noise_model_of_aer_keeps_its_semantics_on_the_processors_qubits() -> None:
    model = NoiseModel()
    flips = pauli_error([("XY", 0.02), ("ZI", 0.03), ("II", 0.95)])
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.05), ["sx", "x"])
    model.add_quantum_error(amplitude_damping_error(0.2), "sx", [4])  # goes before the one for all qubits
    model.add_all_qubit_quantum_error(flips, ["cz", "cx", "ecr"])
    model.add_readout_error([[0.9, 0.1], [0.3, 0.7]], [4])
    circuit = random_circuit(3)
    wires = textbook.Compiled(circuit, (2, 4, 5))
    noise = NoiseRecipe(sources=[{"kind": "aer", "model": model}]).build(wires)

    wide = QuantumCircuit(6)
    wide.compose(circuit, list(wires.physical), inplace=True)
    wide.save_density_matrix(list(wires.physical))
    simulator = AerSimulator(method="density_matrix", noise_model=model)
    expected = np.asarray(simulator.run(wide).result().data()["density_matrix"])
    np.testing.assert_allclose(on_aer(circuit, noise), expected, atol=1e-10, rtol=0)
    np.testing.assert_allclose(by_channels(circuit, noise), expected, atol=1e-10, rtol=0)
    np.testing.assert_allclose(noise.assignment(1), [[0.9, 0.3], [0.1, 0.7]])
    np.testing.assert_array_equal(noise.assignment(0), np.eye(2))


def test_an_error_that_a_noise_model_has_at_delays_acts_there() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(pauli_error([("XY", 0.02), ("II", 0.98)]), ["cx"])
    model.add_quantum_error(amplitude_damping_error(0.3), "delay", [4])
    circuit = QuantumCircuit(2)
    circuit.sx(1)
    circuit.delay(100, 1, unit="ns")
    circuit.cx(1, 0)
    noise = NoiseRecipe(sources=[{"kind": "aer", "model": model}]).build(textbook.Compiled(circuit, (2, 4)))
    state = DensityMatrix.from_label("00").evolve(circuit.data[0].operation, [1])
    state = state.evolve(Kraus(textbook.amplitude_damping(0.3)), [1]).evolve(circuit.data[2].operation, [1, 0])
    flipped = Kraus([np.sqrt(0.98) * np.eye(4), np.sqrt(0.02) * np.kron(textbook.PAULIS["X"], textbook.PAULIS["Y"])])
    np.testing.assert_allclose(on_aer(circuit, noise), state.evolve(flipped, [1, 0]).data, atol=1e-10, rtol=0)
    np.testing.assert_allclose(by_channels(circuit, noise), state.evolve(flipped, [1, 0]).data, atol=1e-10, rtol=0)


def test_noise_goes_to_aer_and_back_unchanged() -> None:
    circuit = random_circuit(4)
    recipe = NoiseRecipe(sources=[THERMAL, ROTATING, {"kind": "readout", "error": [0.02, 0.05]}])
    noise = recipe.build(compiled(circuit)).then(CircuitNoise(3, idle={1: (1e-4, 1.5e-4)}))
    back = CircuitNoise.from_aer(noise.to_aer(), noise.noisy_gates, num_qubits=3)
    assert back.noisy_gates == noise.noisy_gates
    assert max(np.abs(back.errors[key] - noise.errors[key]).max() for key in noise.errors) < 1e-14
    assert back.idle == noise.idle
    for wire in range(3):
        np.testing.assert_allclose(back.assignment(wire), noise.assignment(wire), atol=1e-15)
