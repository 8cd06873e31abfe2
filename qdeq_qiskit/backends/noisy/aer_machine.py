"""The reference: every circuit on Aer, with its density matrix where values are exact, with its counts for shots."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Gate
from torch import Tensor

from qdeq_qiskit.aer import require_aer
from qdeq_qiskit.backends.aer_cost import aer_cost
from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.noisy.grouped_machine import GroupedMachine
from qdeq_qiskit.backends.noisy.measured_groups import MeasuredGroup, MeasuredObservables
from qdeq_qiskit.backends.noisy.pauli_transfer import Matrix
from qdeq_qiskit.noise import CircuitNoise

# Rows of one job: more would only hold more results in memory at once.
_ROWS = 512
# Aer looks errors up by a gate's label, where it has one.
_IDEAL = "ideal"


@final
class AerMachine(GroupedMachine):
    """A compiled circuit that Aer simulates row by row, with Aer's own treatment of noise.

    Args:
        compiled: the circuit.
        noise: what goes wrong.
        encoder_noise: False to leave the errors of the encoder's gates out.
        shots: of each circuit; None for exact expectation values, from outcome probabilities of the density matrix
            and the readout's assignment matrices.
        seed: of the shots; None for a new one.

    Raises:
        ImportError: Aer is not installed.
        ValueError: a gate that Aer would bind wrongly.
    """

    def __init__(
        self,
        compiled: CompiledCircuit,
        noise: CircuitNoise,
        *,
        encoder_noise: bool = True,
        shots: int | None,
        seed: int | None = 0,
    ) -> None:
        super().__init__(compiled, MeasuredObservables.of(compiled), shots=shots, seed=seed)
        _refuse_unsupported(compiled.circuit)
        self._noise = noise
        simulator = require_aer().AerSimulator
        self._simulator = simulator(method="density_matrix", noise_model=noise.to_aer())
        self.circuit = compiled.circuit if encoder_noise else _with_ideal_prefix(compiled)
        self._parameters = list(self.circuit.parameters)

    def announcement(self) -> str:
        """What a row of angles costs: circuits, and seconds as measured on one."""
        return aer_cost(self, self.probabilities)

    def probabilities(self, angles: Tensor) -> list[Matrix]:
        return [self._probabilities(group, angles) for group in self.observables.groups]

    def counts(self, angles: Tensor, shots: int) -> list[Matrix]:
        return [self._counts(group, angles, shots) for group in self.observables.groups]

    def _probabilities(self, group: MeasuredGroup, angles: Tensor) -> Matrix:
        circuit = self.circuit.compose(group.change)
        circuit.save_probabilities(list(group.wires[::-1]))
        table = np.array([data["probabilities"] for data in self._run(circuit, angles)])
        outcomes = table.reshape(-1, *(2,) * len(group.wires))
        for axis, wire in enumerate(group.wires, start=1):
            outcomes = np.moveaxis(np.tensordot(self._noise.assignment(wire), outcomes, axes=(1, axis)), 0, axis)
        return outcomes.reshape(table.shape)

    def _counts(self, group: MeasuredGroup, angles: Tensor, shots: int) -> Matrix:
        circuit = self.circuit.compose(group.change)
        measured = QuantumCircuit(circuit.num_qubits, len(group.wires))
        measured.compose(circuit, inplace=True)
        measured.measure(list(group.wires[::-1]), range(len(group.wires)))
        table = np.zeros((len(angles), 2 ** len(group.wires)))
        for row, data in enumerate(self._run(measured, angles, shots)):
            for outcome, count in data["counts"].items():
                table[row, int(outcome, 16)] = count
        return table

    def _run(self, circuit: QuantumCircuit, angles: Tensor, shots: int = 1) -> list[dict[str, Any]]:
        """Aer's data for every row of angles."""
        compiled = self.compiled.angles(angles).numpy()
        found: list[dict[str, Any]] = []
        for rows in np.split(compiled, range(_ROWS, len(compiled), _ROWS)):
            # Plain parameters only, so that Aer binds all rows at once; c[i] are sorted by their index.
            binds = [{parameter: rows[:, i] for i, parameter in enumerate(self._parameters)}]
            circuits, options = [circuit], {"parameter_binds": binds}
            if not self._parameters:
                circuits, options = [circuit] * len(rows), {}
            seed = int(self._generator.integers(2**31))
            result = self._simulator.run(circuits, shots=shots, seed_simulator=seed, **options).result()
            if not result.success:
                raise RuntimeError(f"Aer failed: {result.status}")
            found.extend(result.data(index) for index in range(len(rows)))
        return found


def _refuse_unsupported(circuit: QuantumCircuit) -> None:
    names = sorted({name for name in circuit.count_ops() if name in ("crx", "cry", "crz")})
    if names:
        raise ValueError(
            f"Aer binds {', '.join(names)} wrongly and has none of them for density matrices; choose basis_gates "
            "without controlled rotations, such as rz, sx, x, cz"
        )


def _with_ideal_prefix(compiled: CompiledCircuit) -> QuantumCircuit:
    """The circuit with gates before the barrier labelled, so that noise does not find them; without delays there."""
    circuit = compiled.circuit.copy_empty_like()
    before = True
    for instruction in compiled.circuit.data:
        gate = instruction.operation
        before = before and gate.name != "barrier"
        if before and gate.name == "delay":
            continue
        if before and isinstance(gate, Gate):
            gate = gate.to_mutable()
            gate.label = _IDEAL
        circuit.append(gate, instruction.qubits)
    return circuit
