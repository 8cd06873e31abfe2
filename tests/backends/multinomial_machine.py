"""A machine that draws the outcomes of all qubits from exact probabilities, as hardware without errors would."""

from __future__ import annotations

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.machine import Machine, shift_rules
from qdeq_qiskit.backends.measurement import Measurement
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.backends.slot_circuit import slot_circuit
from qdeq_qiskit.circuits import QNNCircuit


def projector(outcome: int, num_qubits: int) -> SparsePauliOp:
    """|outcome⟩⟨outcome| as a sum of Z strings."""
    terms = []
    for mask in range(2**num_qubits):
        label = "".join("Z" if mask >> qubit & 1 else "I" for qubit in reversed(range(num_qubits)))
        terms.append((label, (-1.0) ** (mask & outcome).bit_count() / 2**num_qubits))
    return SparsePauliOp.from_list(terms)


class MultinomialMachine(Machine):
    """Diagonal observables of a circuit, all from the same shots; their covariance is that of the counts."""

    def __init__(self, qnn: QNNCircuit, *, shots: int, seed: int) -> None:
        program = program_of(qnn.circuit, [*qnn.input_parameters, *qnn.weight_parameters])
        self.circuit = slot_circuit(program)
        self.rules = shift_rules(program)
        self.shots = shots
        self.circuits_per_row = 1
        self.rows_run = self.shots_run = 0
        outcomes = range(2**qnn.num_qubits)
        probabilities = [projector(outcome, qnn.num_qubits) for outcome in outcomes]
        self._layer = ExactLayer(
            QNNCircuit(self.circuit, self.circuit.parameters, [], probabilities), precision="double"
        )
        self._values = np.stack([np.diag(o.to_matrix()).real for o in qnn.observables])  # (K, 2ⁿ)
        self._rng = np.random.default_rng(seed)

    def run(self, angles: Tensor, *, shots: int | None = None) -> Measurement:
        taken = shots or self.shots
        finite = angles.isfinite().all(1)
        with torch.no_grad():
            found = self._layer(torch.where(finite.unsqueeze(1), angles, 0.0)).numpy().clip(min=0)
        counts = self._rng.multinomial(taken, found / found.sum(1, keepdims=True)) / taken
        values = counts @ self._values.T
        second = np.einsum("no,ko,lo->nkl", counts, self._values, self._values, optimize=True)
        covariance = (second - values[:, :, None] * values[:, None, :]) / taken
        self.rows_run += int(finite.sum())
        self.shots_run += int(finite.sum()) * taken
        missing = ~finite.numpy()
        values[missing], covariance[missing] = np.nan, np.nan
        return Measurement(torch.as_tensor(values), torch.as_tensor(covariance))
