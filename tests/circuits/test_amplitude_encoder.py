"""The amplitude encoder against Qiskit's Statevector: any real vector, in wire order."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from qiskit.circuit import Parameter
from qiskit.quantum_info import Statevector

from qdeq_qiskit.circuits import (
    amplitude_angles,
    amplitude_encoder,
    amplitude_signs,
    gray_walsh_matrix,
    tree_angles,
    z_readout,
)


def wire_order(state: Statevector) -> np.ndarray:
    """Amplitudes with wire 0 as the most significant bit of the index."""
    n = state.num_qubits
    return state.data.reshape((2,) * n).transpose(range(n)[::-1]).reshape(-1)


def encoded(v, num_qubits):
    circuit = amplitude_encoder(num_qubits, len(v))
    return wire_order(Statevector(circuit.assign_parameters(amplitude_angles(np.asarray(v), num_qubits))))


def normalised(v, num_qubits):
    padded = np.zeros(2**num_qubits)
    padded[: len(v)] = v / np.max(np.abs(v))  # first, so that the squares of tiny entries do not underflow
    return padded / np.linalg.norm(padded)


@st.composite
def vectors(draw):
    """(n, v) with d ≤ 2^n entries of both signs, zeros of both signs among them, and often whole blocks of zeros."""
    n = draw(st.integers(1, 5))
    d = draw(st.integers(2, 2**n))
    entry = st.one_of(st.floats(-10, 10, allow_subnormal=False), st.sampled_from([0.0, -0.0, 1.0, -1.0]))
    v = np.array(draw(st.lists(entry, min_size=d, max_size=d)))
    for _ in range(draw(st.integers(0, 3))):
        width = 2 ** draw(st.integers(0, n - 1))
        start = width * draw(st.integers(0, (d - 1) // width))
        v[start : start + width] *= 0.0  # keeps the sign: -0.0 as well as 0.0
    return n, v


@settings(max_examples=150, deadline=None)
@given(vectors())
@example((2, np.array([0.0, 0.0, -1.0, -0.0])))
@example((3, np.array([0.0, 0.0, 0.0, 0.0, 0.0, -2.0, 0.0])))
@example((4, -np.ones(16)))
def test_the_state_is_the_normalised_vector(case):
    n, v = case
    if not np.any(v):
        v = v + np.eye(1, len(v), len(v) - 1)[0]
    np.testing.assert_allclose(encoded(v, n), normalised(v, n), rtol=0, atol=1e-14)


@pytest.mark.parametrize(("num_qubits", "d"), [(6, 64), (6, 37), (10, 100)])
def test_the_state_is_the_normalised_vector_at_the_sizes_of_the_recipes(num_qubits, d):
    for v in np.random.default_rng(d).normal(size=(5, d)):
        np.testing.assert_allclose(encoded(v, num_qubits), normalised(v, num_qubits), rtol=0, atol=1e-14)


@pytest.mark.parametrize("wire", range(3))
def test_wire_zero_is_the_most_significant_bit_of_the_index(wire):
    """The vector with its one entry at 2^(n-1-w) flips wire w = qubit w alone, as Z on each qubit reads it."""
    v = np.eye(8)[2 ** (2 - wire)]
    state = Statevector(amplitude_encoder(3).assign_parameters(amplitude_angles(v, 3)))
    values = [state.expectation_value(observable).real for observable in z_readout(3)]
    np.testing.assert_allclose(values, [-1.0 if k == wire else 1.0 for k in range(3)], atol=1e-14)


@pytest.mark.parametrize(("num_qubits", "ry", "cz"), [(1, 1, 0), (2, 3, 1), (4, 15, 11), (6, 63, 57)])
def test_the_tree_is_made_of_few_gates(num_qubits, ry, cz):
    counts = amplitude_encoder(num_qubits).count_ops()
    assert (counts["ry"], counts.get("cz", 0), sum(counts.values())) == (ry, cz, ry + cz)


def test_a_short_vector_uses_the_least_significant_wires_only():
    circuit = amplitude_encoder(10, 100)
    used = {circuit.find_bit(qubit).index for instruction in circuit.data for qubit in instruction.qubits}
    assert used == set(range(3, 10))


def test_the_gates_carry_plain_parameters_in_order():
    circuit = amplitude_encoder(4)
    driven = [i.operation.params[0] for i in circuit.data if i.operation.name == "ry"]
    assert all(isinstance(p, Parameter) for p in driven)
    assert [p.name for p in driven] == [f"x[{j}]" for j in range(15)] == [p.name for p in circuit.parameters]


@pytest.mark.parametrize("zero", [np.zeros(16), -np.zeros(16), np.zeros((3, 9))])
def test_the_zero_vector_has_zero_angles(zero):
    angles = amplitude_angles(zero, 4)
    assert angles.shape == (*zero.shape[:-1], 15)
    assert np.all(angles == 0)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_dead_branches_have_zero_angles_whatever_the_sign_of_their_zeros(sign):
    v = np.array([1.0, 2.0, 3.0, 4.0, 0.0, 0.0, 0.0, 0.0])
    root, halves, leaves = tree_angles(v * np.where(v == 0, sign, 1.0))
    assert root[0] == 0
    assert halves[1] == 0
    assert np.all(leaves[2:] == 0)


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e150, 1e300])
def test_the_angles_depend_on_the_direction_alone(scale):
    v = np.random.default_rng(0).normal(size=16)
    np.testing.assert_allclose(amplitude_angles(scale * v, 4), amplitude_angles(v, 4), rtol=0, atol=1e-13)


def test_a_batch_of_any_shape_equals_its_samples_one_by_one():
    v = np.random.default_rng(1).normal(size=(3, 4, 11))
    angles = amplitude_angles(v, 5)
    assert angles.shape == (3, 4, 15)
    one_by_one = [[amplitude_angles(sample, 5) for sample in row] for row in v]
    np.testing.assert_allclose(angles, one_by_one, rtol=0, atol=1e-14)


def test_single_precision_and_integers_are_taken():
    v = np.arange(-3, 5)
    for given_as in (v, v.astype(np.float32)):
        np.testing.assert_array_equal(amplitude_angles(given_as, 3), amplitude_angles(v.astype(float), 3))


def test_the_signs_are_those_of_a_cz_from_the_first_wire_to_every_other():
    """Bit by bit: the fixed sign of amplitude b₀b₁...b_{m-1}."""
    for m in (1, 2, 3, 5):
        bits = np.array(list(np.ndindex((2,) * m)))
        np.testing.assert_array_equal(amplitude_signs(m), np.prod((-1.0) ** (bits[:, :1] * bits[:, 1:]), axis=1))


@pytest.mark.parametrize("level", [0, 1, 3])
def test_gate_angles_make_the_rotation_that_each_control_state_asks_for(level):
    """Multiply RY(θ_j) and the Z of each CZ out, control state by control state: RY(α_k) must come out."""
    alpha = np.random.default_rng(level).uniform(-3, 3, size=2**level)
    theta = gray_walsh_matrix(level) @ alpha
    for k in range(2**level):
        matrix = np.eye(2)
        for j in range(2**level):
            changed = (j ^ j >> 1) ^ ((j + 1) % 2**level ^ (j + 1) % 2**level >> 1)
            matrix = np.diag([1, (-1) ** bool(k & changed)]) @ rotation(theta[j]) @ matrix
        np.testing.assert_allclose(matrix, rotation(alpha[k]), atol=1e-14)


def rotation(angle):
    return np.array([[np.cos(angle / 2), -np.sin(angle / 2)], [np.sin(angle / 2), np.cos(angle / 2)]])


@pytest.mark.parametrize("d", [0, 1, 17])
def test_a_number_of_amplitudes_that_does_not_fit_is_refused(d):
    with pytest.raises(ValueError, match=f"4 qubits hold 2 to 16 amplitudes, not {d}"):
        amplitude_encoder(4, d)
    with pytest.raises(ValueError, match=f"4 qubits hold 2 to 16 amplitudes, not {d}"):
        amplitude_angles(np.ones((2, d)), 4)


def test_complex_vectors_are_refused():
    with pytest.raises(ValueError, match="v must be real"):
        amplitude_angles(np.ones(4, dtype=complex), 2)
