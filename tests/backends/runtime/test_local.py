"""A copy of a processor on this machine: the jobs' life, and the noise that they are run with."""

import dataclasses

import numpy as np
import pytest
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp
from scipy.stats import chi2

from qdeq_qiskit.backends import IBMBackend, SnapshotBackend
from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.runtime.estimation import estimator_options
from qdeq_qiskit.backends.runtime.job import JobRequest, JobState
from qdeq_qiskit.backends.runtime.local import LocalProcessor
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.noise import MitigationRecipe


def waiting():
    """The wire of x[0] is prepared first and read last, while the other two are busy."""
    x, w = ParameterVector("x", 1), ParameterVector("w", 1)
    circuit = QuantumCircuit(3)
    circuit.ry(x[0], 0)
    circuit.cx(0, 1)
    for _ in range(6):
        circuit.cx(1, 2)
        circuit.ry(w[0], 1)
    circuit.cx(0, 1)
    return QNNCircuit(circuit, x, w, [SparsePauliOp("IIZ"), SparsePauliOp("IIX")])


def request_for(processor, seed=0):
    compiled = compile_circuit(waiting(), target=processor.target, optimization_level=1)
    recipe = MitigationRecipe()
    cost = recipe.overhead(200, num_bases=2)
    rows = np.zeros((2, compiled.circuit.num_parameters))
    options = estimator_options(recipe, cost)
    return JobRequest(compiled.circuit, compiled.observables, rows, compiled.physical, cost, options, seed)


def test_a_job_is_done_at_once_charges_nothing_and_is_not_found_again():
    processor = LocalProcessor.fake("fake_manila")
    request = request_for(processor)
    job = processor.submit(request, ["tag"])
    outcome = job.outcome(request)
    assert (job.state(), job.reason(), outcome.qpu_seconds) == (JobState.DONE, None, 0.0)
    assert outcome.arrays["evs"].shape == (2, 2)
    job.cancel()
    assert job.state() == JobState.DONE
    assert processor.find("tag") == []
    assert processor.job(job.id) is None
    assert processor.is_local
    assert processor.name == "fake_manila"


def test_the_seed_alone_says_what_a_job_draws():
    first, second = LocalProcessor.fake("fake_manila"), LocalProcessor.fake("fake_manila")
    request = request_for(first)
    values = first.submit(request, ["a"]).outcome(request).arrays["evs"]
    assert np.array_equal(values, second.submit(request, ["b"]).outcome(request).arrays["evs"])
    assert np.array_equal(values, first.submit(request, ["c"]).outcome(request).arrays["evs"])
    other = dataclasses.replace(request, seed=1)
    assert not np.array_equal(values, first.submit(other, ["d"]).outcome(other).arrays["evs"])


def test_the_pause_between_shots_is_the_processors_unless_it_is_given():
    assert LocalProcessor.fake("fake_miami").rep_delay == 0.004
    assert LocalProcessor.fake("fake_torino").rep_delay == 250e-6
    assert LocalProcessor.fake("fake_torino", rep_delay=1e-4).rep_delay == 1e-4


def test_a_name_that_is_none_has_the_nearest_one_in_its_error():
    with pytest.raises(ValueError, match="there is no fake backend 'fake_torio'; did you mean 'fake_torino'"):
        LocalProcessor.fake("fake_torio")


def test_decoupled_wires_relax_while_they_wait_and_pulses_undo_some_of_it():
    rows = torch.tensor([[2.8] + 6 * [0.0]], dtype=torch.double)
    options = {"name": "fake_manila", "optimization_level": 1}
    plain = SnapshotBackend(**options, idle_relaxation=True, shots=None, precision="double").machine(waiting())
    decoupled = IBMBackend(**options, mitigation="dd", shots=50_000).machine(waiting())
    rows = rows.expand(1, len(decoupled.rules))
    before, after = plain.run(rows).values[0], decoupled.run(rows)
    # |1⟩ decays while it waits; turned to |0⟩ and back it decays for half of the time.
    assert after.values[0, 0] < before[0] - 4 * after.covariance[0, 0, 0].sqrt()


def test_without_decoupling_wires_wait_without_relaxing():
    machine = IBMBackend(name="fake_manila", optimization_level=1, shots=50_000).machine(waiting())
    rows = torch.tensor(np.random.default_rng(0).uniform(-3, 3, (3, len(machine.rules))))
    snapshot = SnapshotBackend(name="fake_manila", optimization_level=1, shots=None, precision="double")
    measured, exact = machine.run(rows), snapshot.machine(waiting()).run(rows).values
    difference = measured.values - exact
    found = torch.einsum("ni,nij,nj->", difference, torch.linalg.inv(measured.covariance), difference)
    assert chi2.sf(float(found), difference.numel()) > 1e-3
