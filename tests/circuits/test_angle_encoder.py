"""Angle encoders: the gates of each preset, and what a product state can carry."""

import numpy as np
import pytest
from qiskit.circuit import Parameter

from qdeq_qiskit.circuits import alternating_gates, angle_encoder, paper10_gates, ryzxy_gates
from qdeq_qiskit.circuits.encoders.angle import AngleEncoderRecipe


def gates_of(circuit):
    return [(i.operation.name, circuit.find_bit(i.qubits[0]).index, i.operation.params[0].name) for i in circuit.data]


def test_gate_j_is_driven_by_input_j():
    circuit = angle_encoder(3, [("rz", 2), ("rx", 0), ("ry", 2)])
    assert gates_of(circuit) == [("rz", 2, "x[0]"), ("rx", 0, "x[1]"), ("ry", 2, "x[2]")]
    assert all(isinstance(i.operation.params[0], Parameter) for i in circuit.data)


def test_inputs_stay_in_order_beyond_ten():
    circuit = angle_encoder(4, ryzxy_gates(4))
    assert [p.name for p in circuit.parameters] == [f"x[{j}]" for j in range(16)]


def test_ryzxy_at_four_qubits_is_the_papers_encoder():
    expected = (
        [("ry", w) for w in (0, 1, 2, 3)]
        + [("rz", w) for w in (0, 1, 2, 3)]
        + [("rx", w) for w in (0, 1, 2, 3)]
        + [("ry", w) for w in (0, 1, 2, 3)]
    )
    assert ryzxy_gates(4) == expected


def test_alternating_at_ten_qubits_takes_a_hundred_inputs_wire_by_wire():
    gates = alternating_gates(10)
    assert len(gates) == 100
    assert [wire for _, wire in gates] == [i // 10 for i in range(100)]
    for wire in range(10):
        axes = [axis for axis, w in gates if w == wire]
        assert axes == ["ry", "rz", "rx", "ry", "rz", "rx", "ry", "rz", "rx", "ry"]


def test_alternating_takes_any_number_of_wires_and_inputs():
    assert alternating_gates(2, 4) == [
        *(("ry", 0), ("rz", 0), ("rx", 0), ("ry", 0)),
        *(("ry", 1), ("rz", 1), ("rx", 1), ("ry", 1)),
    ]


def test_paper10_turns_each_wire_about_one_axis():
    gates = paper10_gates()
    assert [wire for _, wire in gates] == [i // 10 for i in range(100)]
    axis_of = {wire: {axis for axis, w in gates if w == wire} for wire in range(10)}
    assert all(axis_of[w] == {"ry"} for w in (0, 3, 6, 9))
    assert all(axis_of[w] == {"rx"} for w in (1, 4, 7))
    assert all(axis_of[w] == {"rz"} for w in (2, 5, 8))


def test_every_input_of_alternating_acts_but_a_wire_carries_two_numbers():
    """The Bloch vector of a wire, differentiated by its ten angles, has no dead input and rank 2."""
    angles = np.random.default_rng(3).uniform(-2, 2, size=10)
    jacobian = np.array([bloch_derivative(alternating_gates(1, 10), angles, j) for j in range(10)])
    assert np.all(np.linalg.norm(jacobian, axis=1) > 1e-3)
    assert np.linalg.matrix_rank(jacobian, tol=1e-6) == 2


def bloch_derivative(gates, angles, j, h=1e-5):
    step = np.zeros(len(angles))
    step[j] = h
    return (bloch_vector(gates, angles + step) - bloch_vector(gates, angles - step)) / (2 * h)


def bloch_vector(gates, angles):
    """By rotation matrices in three dimensions, not by quantum states."""
    vector = np.array([0.0, 0.0, 1.0])
    for (axis, _), phi in zip(gates, angles, strict=True):
        a, b = {"rx": (1, 2), "ry": (2, 0), "rz": (0, 1)}[axis]
        rotation = np.eye(3)
        rotation[a, a] = rotation[b, b] = np.cos(phi)
        rotation[a, b], rotation[b, a] = -np.sin(phi), np.sin(phi)
        vector = rotation @ vector
    return vector


def test_a_misspelt_axis_is_refused_with_the_nearest_one():
    with pytest.raises(
        ValueError, match=r"axis of gate 1: 'RY' is unknown; did you mean 'ry'\? \(expected rx, ry, rz\)"
    ):
        angle_encoder(2, [("rx", 0), ("RY", 1)])


def test_a_wire_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match=r"wire of gate 0 is 2; the wires are 0 to 1"):
        angle_encoder(2, [("rx", 2)])


def test_an_encoder_without_gates_is_refused():
    with pytest.raises(ValueError, match="gates is empty"):
        angle_encoder(2, [])


@pytest.mark.parametrize("options", [{}, {"preset": "ryzxy", "gates": [("rx", 0)]}])
def test_a_recipe_has_a_preset_or_gates(options):
    with pytest.raises(ValueError, match="either `preset` or `gates`"):
        AngleEncoderRecipe(**options)


def test_inputs_per_wire_without_alternating_is_refused():
    with pytest.raises(ValueError, match="belongs to the preset 'alternating' only"):
        AngleEncoderRecipe(preset="ryzxy", inputs_per_wire=4)


def test_paper10_on_other_than_ten_qubits_is_refused():
    with pytest.raises(ValueError, match="'paper10' is for 10 qubits, not 4"):
        AngleEncoderRecipe(preset="paper10").build(4)
