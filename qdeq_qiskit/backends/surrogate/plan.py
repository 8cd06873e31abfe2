"""What is to be run for a surrogate: preparations in place of the encoder, and how their values become operators."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import final

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Operation

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.native_programs import qubits_of
from qdeq_qiskit.backends.noisy.measured_groups import MeasuredObservables
from qdeq_qiskit.backends.surrogate.designs import make_design
from qdeq_qiskit.backends.surrogate.dual_frame import DualFrame
from qdeq_qiskit.backends.surrogate.encoder_wires import EncoderWires
from qdeq_qiskit.backends.surrogate.errors import SurrogateError
from qdeq_qiskit.backends.surrogate.prepared_states import prepared_states
from qdeq_qiskit.backends.surrogate.probe_circuit import ProbeCircuit, edges_of, probe_circuit
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.noise import CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Location

NoiseOf = Callable[[CompiledCircuit], CircuitNoise]
"""What goes wrong in a compiled circuit by the calibration, such as `Snapshot.noise`."""

DEFAULT_DESIGN = "tetrahedral"
MAX_PREPARATIONS = 4096


@final
@dataclass(frozen=True, eq=False)
class ProbePlan:
    """The circuits of a surrogate.

    Attributes:
        qnn: the model's circuit.
        design: the design's name.
        probes: one circuit each; their preparations are counted through.
        noise: of all of their gates, by the calibration.
        frame: duals of the states that the processor prepares by its calibration.
        uncorrected: duals of the ideal states.
        circuits_per_preparation: measurement bases.
        largest_norm: the largest Σ|coefficients| of an observable, which bounds ‖M_k‖.
    """

    qnn: QNNCircuit
    design: str
    probes: tuple[ProbeCircuit, ...]
    noise: CircuitNoise = field(repr=False)
    frame: DualFrame = field(repr=False)
    uncorrected: DualFrame = field(repr=False)
    circuits_per_preparation: int
    largest_norm: float

    @property
    def preparations(self) -> int:
        """P."""
        return len(self.frame.states)

    @property
    def circuits(self) -> int:
        """Circuits in all, without those that mitigation adds."""
        return self.preparations * self.circuits_per_preparation

    @cached_property
    def bias_bound(self) -> float:
        """How far any f may be off although the calibration is right; zero for designs that cover everything."""
        if self.frame.covers_everything:
            return 0.0
        return self.largest_norm * self.frame.worst_trace_norm(self.frame.states)

    @cached_property
    def miscalibration_bound(self) -> float:
        """How far any f may be off if the preparations' calibrated errors are not there at all.

        To first order, also if they are twice as large.
        """
        return self.largest_norm * self.frame.worst_trace_norm(self.uncorrected.states)

    def describe(self) -> str:
        """The plan in a sentence without its full stop."""
        two_qubit = sum(
            len(probe.preparations.angles) * _two_qubit_gates(probe.compiled) for probe in self.probes
        ) / len(self.frame.states)
        circuits, bases = len(self.probes), self.circuits_per_preparation
        return (
            f"{self.design}: {self.preparations} preparations in {circuits} parameterised "
            f"circuit{'' if circuits == 1 else 's'} with {two_qubit:.2g} two-qubit gates each on average before the "
            f"weight block, {bases} measurement {'basis' if bases == 1 else 'bases'}"
        )


def plan_probes(
    qnn: QNNCircuit,
    compiled: CompiledCircuit,
    noise_of: NoiseOf,
    *,
    design: str = DEFAULT_DESIGN,
    max_preparations: int = MAX_PREPARATIONS,
) -> ProbePlan:
    """Puts a design's preparations where the compiled encoder was.

    Args:
        qnn: the model's circuit, with an amplitude encoder.
        compiled: the same, compiled.
        noise_of: what goes wrong in a compiled circuit by the calibration, such as `snapshot.noise`.
        design: "tetrahedral" or "clifford".
        max_preparations: more of them are refused.

    Raises:
        SurrogateError: the model's operators cannot be measured so; the message says why.
    """
    chosen = make_design(design)
    encoder = EncoderWires.of(qnn, compiled)
    count = chosen.count(len(encoder.wires))
    if count > max_preparations:
        raise SurrogateError(
            f"the {design} design takes {count:,} preparations for an encoder on {len(encoder.wires)} wires, and "
            f"max_preparations is {max_preparations:,}; take --method circuits, or raise the limit"
        )
    entries = chosen.preparations(len(encoder.wires), edges_of(compiled, encoder.wires))
    probes = tuple(probe_circuit(qnn, compiled, encoder, preparations) for preparations in entries)
    noise = noise_of(_of_all_gates(compiled, probes))
    by_calibration = [prepared_states(probe, encoder.wires, noise) for probe in probes]
    ideal = [prepared_states(probe, encoder.wires, None) for probe in probes]
    norms = [float(np.abs(observable.coeffs).sum()) for observable in compiled.observables]
    return ProbePlan(
        qnn=qnn,
        design=design,
        probes=probes,
        noise=noise,
        frame=DualFrame.of(np.concatenate(by_calibration), encoder.isometry),
        uncorrected=DualFrame.of(np.concatenate(ideal), encoder.isometry),
        circuits_per_preparation=len(MeasuredObservables.of(compiled).groups),
        largest_norm=max(norms),
    )


def _of_all_gates(compiled: CompiledCircuit, probes: Sequence[ProbeCircuit]) -> CompiledCircuit:
    """A circuit that has every gate of all probes once: their noise is looked up together, which takes a second."""
    found: dict[Location, Operation] = {}
    for probe in probes:
        for instruction in probe.compiled.circuit.data:
            if instruction.operation.name not in ("barrier", "delay"):
                qubits = qubits_of(probe.compiled.circuit, instruction)
                found.setdefault((instruction.operation.name, qubits), instruction.operation)
    circuit = QuantumCircuit(compiled.num_qubits)
    for (_, qubits), gate in found.items():
        if gate.params:
            gate = gate.to_mutable()
            gate.params = [0.0] * len(gate.params)
        circuit.append(gate, qubits)
    return dataclasses.replace(compiled, circuit=circuit)


def _two_qubit_gates(compiled: CompiledCircuit) -> int:
    return sum(len(operation.wires) == 2 for operation in compiled.prefix.operations)
