"""The formula for a processor's seconds, and the budget."""

from __future__ import annotations

import math

import pytest
from qiskit import transpile
from qiskit_ibm_runtime.fake_provider import FakeManilaV2, FakeTorino

from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.runtime.errors import BudgetError
from qdeq_qiskit.backends.runtime.qpu_time import Budget, QPUTime, circuit_duration
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, z_readout


def model() -> QNNCircuit:
    return QNNCircuit.compose(amplitude_encoder(4, 16), qdeq_ansatz(4), z_readout(4), num_amplitudes=16)


def test_a_job_takes_ibms_quick_formula_where_the_circuits_length_is_unknown() -> None:
    assert QPUTime().job(10_000) == pytest.approx(2 + 0.00035 * 10_000)
    assert QPUTime().job(0) == 2.0


def test_a_shorter_pause_shortens_every_execution_but_not_the_overhead() -> None:
    assert QPUTime(rep_delay=50e-6).job(1000, 20e-6) == pytest.approx(2 + 1000 * 70e-6)


def test_the_formula_is_written_with_its_numbers() -> None:
    line = QPUTime().formula(3, 12_000, 8.25e-6)
    assert line == "3 jobs × 2 s + 12,000 executions × (250 µs rep_delay + 8.2 µs circuit) = 9.1 s"
    assert "(assumed)" in QPUTime().formula(1, 1)


@pytest.mark.parametrize("backend", [FakeTorino(), FakeManilaV2()], ids=["torino", "manila"])
def test_a_circuits_duration_is_that_of_qiskits_schedule_with_reset_and_measurement(backend) -> None:
    compiled = compile_circuit(model(), target=backend)
    circuit = compiled.circuit.assign_parameters([0.1] * compiled.circuit.num_parameters)
    circuit.measure_all()
    scheduled = transpile(circuit, target=compiled.target, optimization_level=0, scheduling_method="alap")
    reset = max(compiled.target["reset"][(wire,)].duration for wire in range(compiled.num_qubits))
    wanted = scheduled.estimate_duration(compiled.target) + reset
    assert circuit_duration(compiled) == pytest.approx(wanted, rel=1e-3)
    assert circuit_duration(compiled, init_qubits=False) == pytest.approx(wanted - reset, rel=1e-3)


def test_folded_gates_lengthen_the_circuit() -> None:
    compiled = compile_circuit(model(), target=FakeTorino())
    once = circuit_duration(compiled, noise_factors=(1,))
    thrice = circuit_duration(compiled, noise_factors=(3,))
    assert once is not None
    assert thrice is not None
    assert circuit_duration(compiled, noise_factors=(1, 3)) == pytest.approx((once + thrice) / 2)
    longest_pair = max(properties.duration for properties in compiled.target["cz"].values())
    assert once < thrice <= once + 2 * compiled.two_qubit_depth * longest_pair + 1e-12


def test_a_duration_is_unknown_without_a_processor_or_without_one_of_its_durations() -> None:
    assert circuit_duration(compile_circuit(model())) is None
    compiled = compile_circuit(model(), target=FakeTorino())
    compiled.target.update_instruction_properties("measure", (0,), None)
    assert circuit_duration(compiled) is None


def test_a_budget_charges_what_is_predicted_until_it_is_known_what_was_used() -> None:
    budget = Budget(10)
    budget.charge("first", 4.0)
    assert (budget.spent, budget.left, budget.affords(6.0), budget.affords(6.1)) == (4.0, 6.0, True, False)
    budget.charge("first", 7.0)
    budget.charge("second", 1.0)
    assert budget.spent == 8.0
    budget.require(2.0)
    with pytest.raises(BudgetError, match=r"about 2\.5 s .* = 10 s only 2\.0 s are left"):
        budget.require(2.5)


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf])
def test_a_budget_is_a_positive_number_of_seconds(seconds: float) -> None:
    with pytest.raises(ValueError, match="max_qpu_seconds must be a positive number"):
        Budget(seconds)
