"""A compiled circuit's counts, by hand."""

from __future__ import annotations

from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.circuits import QNNCircuit, z_readout
from qdeq_qiskit.noise import NoiseRecipe
from qdeq_qiskit.studies.circuit_cost import CircuitCost, cost_of, two_qubit_error


def test_counts_are_those_by_hand_and_the_barrier_on_two_wires_is_no_gate() -> None:
    x, theta = Parameter("x"), Parameter("theta")
    circuit = QuantumCircuit(2)
    circuit.ry(x, 0)
    circuit.cx(0, 1)
    circuit.ry(theta, 1)
    circuit.cz(0, 1)
    compiled = compile_circuit(QNNCircuit(circuit, [x], [theta], z_readout(2)))
    assert "barrier" in compiled.circuit.count_ops()
    assert cost_of(compiled) == CircuitCost(depth=4, two_qubit_depth=2, two_qubit_gates=2)
    noise = NoiseRecipe(sources=[{"kind": "depolarizing", "two_qubit": 0.04}]).build(compiled)
    assert abs(two_qubit_error(compiled, noise) - 0.03) < 1e-9
