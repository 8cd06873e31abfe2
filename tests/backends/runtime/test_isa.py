"""Circuits made such that a processor has their gates and angles, against Qiskit's own simulation and checks."""

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_ibm_runtime.fake_provider import FakeManilaV2, FakeTorino
from qiskit_ibm_runtime.utils.utils import is_valid_rzz_pub

from qdeq_qiskit.backends.runtime.errors import ProcessorError
from qdeq_qiskit.backends.runtime.isa import check_gates, control_instructions, fold_angles

PI = np.pi
ANGLES = [0.3, PI / 2, 1.8, PI, -PI, -0.2, -1.9, 4.0, 5.5, 2 * PI, 9.0, -7.7, 0.0, PI / 2 + 1e-12, -1e-12, 3 * PI / 2]


def three_wires(fixed=None):
    """Two rzz among other gates, the second one with a number for an angle if one is given."""
    c = ParameterVector("c", 4 if fixed is None else 3)
    circuit = QuantumCircuit(3)
    for wire in range(3):
        circuit.sx(wire)
    circuit.rz(c[0], 0)
    circuit.rzz(c[1], 0, 1)
    circuit.rx(c[2], 1)
    circuit.rzz(c[3] if fixed is None else fixed, 2, 1)
    circuit.sx(2)
    return circuit


def rows_with(angles, columns=4):
    rows = np.random.default_rng(0).uniform(-3, 3, (len(angles), columns))
    rows[:, 1] = angles
    if columns == 4:
        rows[:, 3] = angles[::-1]
    return rows


def is_valid(circuit, rows):
    """Runtime's own opinion; an empty text where nothing is wrong."""
    return is_valid_rzz_pub(EstimatorPub.coerce((circuit, SparsePauliOp("Z" * circuit.num_qubits), rows))) == ""


@pytest.mark.parametrize("fixed", [None, 2.2, -0.7])
def test_a_folded_circuit_is_equal_and_in_range(fixed):
    circuit = three_wires(fixed)
    rows = rows_with(ANGLES, circuit.num_parameters)
    folded, more = fold_angles(circuit, rows)
    assert not is_valid(circuit, rows)
    assert is_valid(folded, more)
    assert [*folded.parameters][: circuit.num_parameters] == [*circuit.parameters]
    for row, other in zip(rows, more, strict=True):
        before, after = circuit.assign_parameters(row), folded.assign_parameters(other)
        assert abs(Statevector(before).inner(Statevector(after))) == pytest.approx(1, abs=1e-12)


def test_gates_are_added_only_where_a_row_needs_them():
    circuit = three_wires()
    inside = rows_with([0.3, 1.2])
    folded, rows = fold_angles(circuit, inside)
    assert folded == circuit
    assert np.array_equal(rows, inside)
    third = rows_with([PI + 0.1, 0.2])  # the third quadrant takes rz alone
    third[:, 3] = 0.1
    folded, rows = fold_angles(circuit, third)
    assert folded.count_ops()["rz"] == circuit.count_ops()["rz"] + 2
    assert folded.count_ops()["rx"] == circuit.count_ops()["rx"]
    assert rows.shape == (2, 5)


def test_angles_given_are_left_as_they_are():
    rows = rows_with(ANGLES)
    before = rows.copy()
    fold_angles(three_wires(), rows)
    assert np.array_equal(rows, before)


def test_a_gate_that_the_processor_lacks_is_an_error_that_names_it():
    circuit = QuantumCircuit(2)
    circuit.cx(0, 1)
    check_gates(circuit, (3, 4), FakeManilaV2().target, "manila")
    with pytest.raises(ProcessorError, match=r"manila has no cx on qubits \(0, 4\)"):
        check_gates(circuit, (0, 4), FakeManilaV2().target, "manila")
    with pytest.raises(ProcessorError, match=r"torino has no cx on qubits \(0, 1\)"):
        check_gates(circuit, (0, 1), FakeTorino().target, "torino")


def test_control_instructions_are_those_of_ibms_table():
    circuit = QuantumCircuit(2)
    circuit.rz(0.1, 0)
    circuit.sx(0)
    circuit.barrier()
    circuit.cz(0, 1)
    circuit.cz(0, 1)
    circuit.x(1)
    circuit.x(1)
    # init 50, measure 10, rz 1, sx 2, x 2, cz 5: wire 0 has 60 + 1 + 2 + 10, wire 1 has 60 + 10 + 4.
    assert control_instructions(circuit) == 74
    assert control_instructions(circuit, noise_factor=3) == 94
