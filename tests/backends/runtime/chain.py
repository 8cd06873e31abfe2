"""A small solve: each request asks at angles that the outcomes before it gave."""

import time

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qdeq_qiskit.backends.runtime.estimation import estimator_options, with_shared_parameters
from qdeq_qiskit.backends.runtime.ibm_processor import open_processor
from qdeq_qiskit.backends.runtime.job import JobRequest
from qdeq_qiskit.backends.runtime.ledger import Ledger
from qdeq_qiskit.noise.mitigation import MitigationRecipe

STEPS = 2


def quickly(seconds):
    time.sleep(min(seconds, 0.02))


def asked(rows, seed):
    angles = ParameterVector("a", 2)
    circuit = QuantumCircuit(2)
    for wire in range(2):
        circuit.sx(wire)
        circuit.rz(angles[wire], wire)
        circuit.sx(wire)
    circuit.cx(0, 1)
    cost = MitigationRecipe().overhead(200, num_bases=1)
    observables = (SparsePauliOp("ZI"), SparsePauliOp("IZ"))
    options = estimator_options(MitigationRecipe(), cost)
    return JobRequest(with_shared_parameters(circuit), observables, np.asarray(rows), (1, 2), cost, options, seed)


def chain(dispatcher, steps=STEPS):
    """The angles after some steps, (2, 2); two requests a step."""
    angles = np.array([[0.3, 0.8], [1.1, -0.4]])
    for step in range(steps):
        requests = [asked(angles[row : row + 1], 10 * step + row) for row in range(2)]
        outcomes = dispatcher.run(requests)
        angles = 0.5 * angles + np.concatenate([outcome.arrays["evs"].T for outcome in outcomes])
    return angles


def run(path, *, steps=STEPS, sleep=quickly, progress=None, wait=True, mode="job", ledger=None):
    """The solve of a ledger, begun or gone on with, to its end."""
    with Ledger.open(path) if ledger is None else ledger as opened:
        solves = opened.solves()
        solve = solves[0] if solves else opened.begin("chain", {}, processor="ibm_manila")
        processor = open_processor(
            "ibm_manila",
            num_qubits=2,
            mode=mode,
            session_id=solve.session_id,
            on_session=solve.keep_session,
            answer_within=1.0,
            begins=not solves,
            sleep=sleep,
        )
        dispatcher = solve.dispatcher(processor, sleep=sleep, progress=progress, wait=wait)
        angles = chain(dispatcher, steps)
        processor.close()
        solve.finish({"angles": angles.tolist()})
        return angles
