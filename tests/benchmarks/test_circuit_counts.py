"""What the benchmark of circuits counts, on one sample."""

from __future__ import annotations

from itertools import islice

from qiskit import QuantumCircuit

from benchmarks.hardware import CountingSimulator, rows


def test_a_processor_is_given_one_circuit_for_all_outputs_where_the_stock_classes_give_one_for_each() -> None:
    value, ratio = islice(rows(quick=True), 2)
    assert (value.figure, value.peer, value.ratio) == (1, 4, 4)
    assert (ratio.figure, ratio.target, ratio.verdict) == (4, 4, "met")


def test_every_circuit_that_aer_is_given_is_counted() -> None:
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    before = CountingSimulator.circuits_given
    simulator = CountingSimulator()
    simulator.run(circuit, shots=10).result()
    simulator.run([circuit, circuit], shots=10).result()
    assert CountingSimulator.circuits_given - before == 3
