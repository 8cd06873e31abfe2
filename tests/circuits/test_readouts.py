"""Observables: which wire each one reads."""

import pytest
from qiskit.quantum_info import SparsePauliOp, Statevector

from qdeq_qiskit.circuits import READOUTS, z_readout


def test_observable_k_is_z_on_wire_k():
    state = Statevector.from_label("010011")  # qubit 0 is the rightmost: wires 0, 1 and 4 are excited
    values = [round(state.expectation_value(observable).real, 12) for observable in z_readout(6)]
    assert values == [-1, -1, 1, 1, -1, 1]


def test_pauli_labels_are_read_as_qiskit_writes_them():
    (observable,) = READOUTS["paulis"](observables=["IIZ"]).build(3)
    assert observable == z_readout(3)[0]


def test_sums_of_paulis_keep_their_coefficients():
    observables = READOUTS["paulis"](observables=["XX", {"ZZ": 0.5, "YI": -1}]).build(2)
    assert observables == (SparsePauliOp("XX"), SparsePauliOp(["ZZ", "YI"], [0.5, -1]))


@pytest.mark.parametrize(
    ("observables", "message"),
    [
        (["ZZ", "ZZZ"], r"observables\[1\]: 'ZZZ' has 3 letters, the circuit has 2 qubits"),
        (["ZQ"], r"observables\[0\]: 'ZQ' is not a Pauli label; it must be made of the letters I, X, Y, Z"),
        ([{}], r"observables\[0\] has no terms"),
        ([], "observables is empty"),
    ],
)
def test_labels_that_make_no_sense_are_refused(observables, message):
    with pytest.raises(ValueError, match=message):
        READOUTS["paulis"](observables=observables).build(2)


def test_no_wires_cannot_be_read():
    with pytest.raises(ValueError, match="num_qubits must be at least 1"):
        z_readout(0)
