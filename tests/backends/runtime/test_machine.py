"""A machine on a processor, against exact values of the same processor's snapshot and against what was asked for."""

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import RXGate, RZZGate
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import InstructionProperties, Target
from qiskit_ibm_runtime.utils.utils import is_valid_rzz_pub
from scipy.stats import chi2

from qdeq_qiskit.backends import IBMBackend, SnapshotBackend
from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.runtime import estimation
from qdeq_qiskit.backends.runtime.connection import Connection
from qdeq_qiskit.backends.runtime.errors import ProcessorError
from qdeq_qiskit.backends.runtime.job import JobOutcome
from qdeq_qiskit.backends.runtime.local import LocalProcessor
from qdeq_qiskit.backends.runtime.machine import Execution, RuntimeMachine
from qdeq_qiskit.backends.runtime.qpu_time import Budget, QPUTime
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, random_layer, z_readout
from qdeq_qiskit.noise import CircuitNoise, MitigationRecipe, Snapshot

SAMPLES = 20


def four_qubits():
    return QNNCircuit.compose(amplitude_encoder(4), random_layer(4, 20), z_readout(4), num_amplitudes=16)


def two_bases():
    x, w = ParameterVector("x", 2), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    circuit.ry(x[0], 0)
    circuit.ry(x[1], 1)
    circuit.cx(0, 1)
    circuit.rx(w[0], 0)
    circuit.ry(w[1], 1)
    observables = [SparsePauliOp(label) for label in ("IZ", "ZI", "XX")]
    return QNNCircuit(circuit, x, w, observables)


def chi_square(measured, expected):
    difference = measured.values - expected
    return float(torch.einsum("ni,nij,nj->", difference, torch.linalg.inv(measured.covariance), difference))


class Recorded:
    """A dispatcher that keeps its requests."""

    def __init__(self, processor, budget=None):
        self.processor, self.budget, self.requests = processor, budget, []

    def run(self, requests):
        self.requests += requests
        return [self.processor.submit(request, ["tag"]).outcome(request) for request in requests]


def machine_on(dispatcher, qnn, *, shots=200, names="none", seed=0, **options):
    snapshot = Snapshot(dispatcher.processor.name, dispatcher.processor.target)
    backend = IBMBackend(name="fake_manila", shots=shots, mitigation=names, seed=seed, **options)
    return backend.on(Connection(dispatcher.processor, snapshot, dispatcher)).machine(qnn)


@pytest.mark.parametrize("name", ["fake_torino", "fake_fez", "fake_manila"])
def test_values_are_those_of_the_snapshot_within_their_covariance(name):
    qnn = four_qubits()
    rows = torch.tensor(np.random.default_rng(0).uniform(-3, 3, (SAMPLES, 16 + qnn.num_weights)))
    tested = IBMBackend(name=name, shots=4096).machine(qnn)
    reference = SnapshotBackend(name=name, shots=None, precision="double").machine(qnn)
    angles = rows[:, : len(tested.rules)]
    assert angles.shape[1] == len(reference.rules)
    measured = tested.run(angles)
    found = chi_square(measured, reference.run(angles).values)
    assert 1e-3 < chi2.sf(found, measured.values.numel()) < 1 - 1e-3
    assert (tested.circuits_run, tested.shots_run, tested.jobs_run) == (SAMPLES, SAMPLES * 4096, 1)


def test_rows_times_bases_are_counted_and_asked_for_at_once():
    dispatcher = Recorded(LocalProcessor.fake("fake_manila"))
    tested = machine_on(dispatcher, two_bases())
    tested.run(torch.zeros(5, 4, dtype=torch.double))
    (request,) = dispatcher.requests
    assert (request.circuits, request.executions) == (10, 2000)
    assert (tested.rows_run, tested.circuits_run, tested.shots_run, tested.circuits_per_row) == (5, 10, 2000, 2)
    tested.run(torch.zeros(1, 4, dtype=torch.double), shots=300)
    assert dispatcher.requests[1].executions == 600
    assert request.duration == pytest.approx(dispatcher.requests[1].duration)
    assert request.duration > 5e-6


def test_one_seed_repeats_everything_and_a_stream_forgets_what_was_drawn_before():
    first, second = (machine_on(Recorded(LocalProcessor.fake("fake_manila")), two_bases()) for _ in range(2))
    rows = torch.tensor(np.random.default_rng(0).uniform(-3, 3, (3, 4)))
    once = first.run(rows).values
    assert torch.equal(once, second.run(rows).values)
    assert not torch.equal(once, first.run(rows).values)
    first.restart(7)
    second.run(rows)
    second.restart(7)
    assert torch.equal(first.run(rows).values, second.run(rows).values)


def test_rows_that_are_not_finite_are_not_asked_for():
    dispatcher = Recorded(LocalProcessor.fake("fake_manila"))
    tested = machine_on(dispatcher, two_bases())
    rows = torch.zeros(3, 4, dtype=torch.double)
    rows[1, 2] = torch.nan
    values = tested.run(rows).values
    assert torch.isnan(values).all(dim=1).tolist() == [False, True, False]
    assert len(dispatcher.requests[0].rows) == 2
    assert torch.isnan(tested.run(rows[1:2]).values).all()
    assert len(dispatcher.requests) == 1


def test_what_exceeds_a_job_is_divided_in_order(monkeypatch):
    dispatcher = Recorded(LocalProcessor.fake("fake_manila"))
    monkeypatch.setattr("qdeq_qiskit.backends.runtime.estimation.MAX_EXECUTIONS", 2 * 400)
    tested = machine_on(dispatcher, two_bases())
    rows = torch.linspace(0, 3, 5, dtype=torch.double).unsqueeze(1).expand(5, 4)
    measured = tested.run(rows)
    assert [len(request.rows) for request in dispatcher.requests] == [2, 2, 1]
    assert len({request.seed for request in dispatcher.requests}) == 3
    exact = SnapshotBackend(name="fake_manila", shots=None, precision="double").machine(two_bases()).run(rows)
    assert chi2.sf(chi_square(measured, exact.values), 15) > 1e-3
    assert tested.jobs_run == 3


def test_a_single_evaluation_that_exceeds_a_job_is_refused_before_it_is_asked_for():
    dispatcher = Recorded(LocalProcessor.fake("fake_manila"))
    with pytest.raises(ProcessorError, match=r"3,000,000 shots .* are 6,000,000 executions .* take fewer shots"):
        machine_on(dispatcher, two_bases(), shots=3_000_000)
    tested = machine_on(dispatcher, two_bases())
    with pytest.raises(ProcessorError, match="take fewer shots"):
        tested.run(torch.zeros(1, 4, dtype=torch.double), shots=3_000_000)
    assert not dispatcher.requests


def test_what_is_affordable_is_what_the_jobs_of_the_calls_take_together():
    processor = LocalProcessor.fake("fake_manila")
    dispatcher = Recorded(processor, Budget(100))
    tested = machine_on(dispatcher, two_bases())
    tested.run(torch.zeros(4, 4, dtype=torch.double))
    tested.run(torch.zeros(1, 4, dtype=torch.double), shots=1000)
    seconds = sum(QPUTime(processor.rep_delay).of(request) for request in dispatcher.requests)
    calls = [(4, None), (1, 1000)]
    dispatcher.budget = Budget(1.0001 * seconds)
    assert tested.affords(calls)
    dispatcher.budget = Budget(0.9999 * seconds)
    assert not tested.affords(calls)
    assert tested.affords(calls[:1])
    dispatcher.budget = None
    assert tested.affords([(10**9, None)])


def test_a_mitigated_machine_is_closer_to_the_ideal():
    qnn = four_qubits()
    generator = np.random.default_rng(1)
    ideal = compile_circuit(qnn)
    plain, mitigated = (
        IBMBackend(name="fake_manila", shots=4096, mitigation=names).machine(qnn) for names in ("none", "trex+zne")
    )
    angles = torch.tensor(generator.uniform(-3, 3, (4, len(plain.rules))))
    from qdeq_qiskit.backends.noisy import EffectiveMachine, NoisyCircuit

    expected = EffectiveMachine(NoisyCircuit(qnn, ideal, CircuitNoise(4)), shots=None, seed=0).run(angles).values
    before, after = ((each.run(angles).values - expected).norm() for each in (plain, mitigated))
    assert after < 0.8 * before
    assert mitigated.circuits_run == mitigated.cost.circuits(4)


def fractional_manila():
    """Manila with rx and rzz, without cx."""
    whole = Snapshot.fake("fake_manila").target
    target = Target(num_qubits=5, dt=whole.dt, qubit_properties=whole.qubit_properties)
    for name in ("id", "rz", "sx", "x", "measure", "delay", "reset"):
        target.add_instruction(whole.operation_from_name(name), dict(whole[name]))
    angle = ParameterVector("t", 2)
    ones = {qubits: InstructionProperties(4e-8, 2e-4) for qubits in whole["sx"]}
    target.add_instruction(RXGate(angle[0]), ones)
    twos = {qubits: InstructionProperties(2e-7, 4e-3) for qubits in whole["cx"]}
    target.add_instruction(RZZGate(angle[1]), twos, angle_bounds=[(0, np.pi / 2)])
    return Snapshot("fractional_manila", target)


def test_fractional_gates_run_at_any_angle_in_their_range():
    processor = LocalProcessor(fractional_manila())
    x, w = ParameterVector("x", 1), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    circuit.ry(x[0], 0)
    circuit.sx(1)
    circuit.rzz(w[0], 0, 1)
    circuit.rx(w[1], 0)
    qnn = QNNCircuit(circuit, x, w, [SparsePauliOp(label) for label in ("IZ", "IY", "YI")])
    dispatcher = Recorded(processor)
    compiled = compile_circuit(qnn, target=processor.target)
    assert any(name == "rzz" for name, _ in compiled.gates())
    noise = fractional_manila().noise(compiled)
    tested = RuntimeMachine(
        compiled,
        dispatcher,
        noise=noise,
        recipe=MitigationRecipe(),
        shots=20_000,
        seed=0,
        execution=Execution(),
        time=QPUTime(),
    )
    rows = torch.tensor(np.random.default_rng(0).uniform(-6, 6, (8, 3)))
    measured = tested.run(rows)
    from qdeq_qiskit.backends.noisy import AerMachine

    # Rotations by 0 or π beside an rzz err a little, too: the ideal circuit is what both are near.
    ideal = AerMachine(compile_circuit(qnn), CircuitNoise(2), encoder_noise=True, shots=None, seed=0).run(rows).values
    assert (measured.values - ideal).abs().max() < 0.15
    (request,) = dispatcher.requests
    assert is_valid_rzz_pub(_pub(request)) == ""
    assert request.circuit.num_parameters > compiled.circuit.num_parameters


def _pub(request):
    from qiskit.primitives.containers.estimator_pub import EstimatorPub

    return EstimatorPub.coerce((request.circuit, request.observables[0], request.rows))


def test_outcomes_that_a_ledger_has_stored_are_read_as_new_ones():
    dispatcher = Recorded(LocalProcessor.fake("fake_manila"))
    tested = machine_on(dispatcher, two_bases(), names="trex+zne")
    rows = torch.zeros(2, 4, dtype=torch.double)
    first = tested.run(rows)
    stored = dispatcher.processor.submit(dispatcher.requests[0], ["tag"]).outcome(dispatcher.requests[0])

    class Stored:
        budget, processor = None, dispatcher.processor

        def run(self, requests):
            return [JobOutcome({name: array.copy() for name, array in stored.arrays.items()}, 0.0)] * len(requests)

    again = machine_on(Stored(), two_bases(), names="trex+zne").run(rows)
    assert torch.equal(first.values, again.values)
    assert torch.equal(first.covariance, again.covariance)


def test_jobs_are_divided_by_all_bits_that_the_processor_reads_out_and_priced_alike(monkeypatch):
    monkeypatch.setattr(estimation, "_MAX_BYTES", 2 * 200 * 4 * 5)
    processor = LocalProcessor(Snapshot.fake("fake_manila"), measured_qubits=5)
    dispatcher = Recorded(processor)
    qnn = two_bases()
    compiled = compile_circuit(qnn, target=processor.target)
    options = {"recipe": MitigationRecipe(), "shots": 200, "seed": 0, "execution": Execution(), "time": QPUTime()}
    noise = CircuitNoise(compiled.num_qubits)
    every = RuntimeMachine(compiled, dispatcher, noise=noise, measured_qubits=5, **options)
    rows = torch.zeros(16, 4, dtype=torch.double)
    every.run(rows)
    assert [len(request.rows) for request in dispatcher.requests] == [4, 4, 4, 4]
    # Two circuits a row, and two seconds a job: what is asked for beforehand is what runs.
    seconds = sum(QPUTime().of(request) for request in dispatcher.requests)
    dispatcher.budget = Budget(seconds)
    assert every.affords([(16, None)])
    dispatcher.budget = Budget(seconds - 0.01)
    assert not every.affords([(16, None)])
    used = RuntimeMachine(compiled, dispatcher, noise=noise, **options)
    assert len(used.jobs(16, used.cost)) == 2
