"""A small circuit with noise, and machines that mitigate it."""

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp, Statevector

from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.mitigated import mitigated_machine
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.noise import MitigationRecipe, NoiseRecipe

CX = ["rz", "sx", "x", "cx"]
ROW = torch.tensor([[0.7, -0.4, 0.5, 0.9, 0.3]], dtype=torch.float64)
OBSERVABLES = [
    SparsePauliOp("ZI"),
    SparsePauliOp("ZZ"),
    SparsePauliOp("IX"),
    SparsePauliOp(["XX", "IZ"], [0.5, 0.5]),
]
DEPOLARIZING = {"kind": "depolarizing", "one_qubit": 0.0005, "two_qubit": 0.04}
READOUT = {"kind": "readout", "error": [0.02, 0.08]}


def qnn(observables=OBSERVABLES, coupling="cx"):
    x, w = ParameterVector("x", 2), ParameterVector("w", 3)
    circuit = QuantumCircuit(2)
    circuit.ry(x[0], 0)
    circuit.ry(x[1], 1)
    circuit.cx(0, 1)
    circuit.ry(w[0], 0)
    circuit.rx(w[1], 1)
    if coupling == "rzz":
        circuit.rzz(w[1], 0, 1)
    elif coupling == "cx":
        circuit.cx(0, 1)
    circuit.rz(w[2], 0)
    circuit.ry(w[2], 1)
    return QNNCircuit(circuit, x, w, observables)


def ideal(network, row=ROW[0]):
    values = dict(zip([*network.input_parameters, *network.weight_parameters], row.tolist(), strict=True))
    state = Statevector(network.circuit.assign_parameters(values))
    return np.array([state.expectation_value(observable).real for observable in network.observables])


def build(*sources, observables=OBSERVABLES, basis_gates=CX):
    compiled = compile_circuit(qnn(observables), basis_gates=basis_gates)
    return compiled, NoiseRecipe.model_validate({"sources": sources}).build(compiled)


def machine(compiled, noise, recipe, shots=2048, seed=0):
    return mitigated_machine(compiled, noise, MitigationRecipe.model_validate(recipe), shots=shots, seed=seed)


def slot_angles(compiled, rows=ROW):
    return compiled.source.angle_map.compile()(rows)


def repeated(compiled, noise, recipe, *, shots, times, jobs=1):
    """Values and said variances, (times, K): rows of one job are independent but for a calibration that they share."""
    tested = machine(compiled, noise, recipe, shots=shots)
    measured = [tested.run(slot_angles(compiled, ROW.repeat(times // jobs, 1))) for _ in range(jobs)]
    values = torch.cat([m.values for m in measured]).numpy()
    variances = torch.cat([torch.diagonal(m.covariance, dim1=1, dim2=2) for m in measured]).numpy()
    return values, variances
