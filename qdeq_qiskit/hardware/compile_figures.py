"""What became of a circuit on a processor, in figures."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.runtime.qpu_time import circuit_duration


@dataclass(frozen=True)
class CompileFigures:
    """Figures of a compiled circuit, encoder included.

    Attributes:
        processor: its name.
        processor_qubits: how many it has.
        qubits: the processor's qubit of each wire.
        model_qubits: how many of the wires are the model's; the others are there for routing.
        depth: layers of native gates, those of virtual rotations included, as Qiskit counts them.
        two_qubit_gates: how many there are.
        two_qubit_depth: layers of these.
        duration: of one execution in seconds, reset and measurement included; None if the processor does not say.
        estimated_fidelity: product of 1 − error over gates and readout.
    """

    processor: str
    processor_qubits: int
    qubits: tuple[int, ...]
    model_qubits: int
    depth: int
    two_qubit_gates: int
    two_qubit_depth: int
    duration: float | None
    estimated_fidelity: float

    @classmethod
    def of(
        cls, compiled: CompiledCircuit, *, processor: str, processor_qubits: int, model_qubits: int
    ) -> CompileFigures:
        """The figures of a circuit that was compiled for this processor."""
        return cls(
            processor=processor,
            processor_qubits=processor_qubits,
            qubits=compiled.physical,
            model_qubits=model_qubits,
            depth=compiled.circuit.depth(),
            two_qubit_gates=compiled.num_two_qubit_gates,
            two_qubit_depth=compiled.two_qubit_depth,
            duration=circuit_duration(compiled),
            estimated_fidelity=compiled.estimated_fidelity,
        )

    def figures(self) -> dict[str, Any]:
        """The same in plain values, as JSON holds them."""
        return {**asdict(self), "qubits": list(self.qubits)}

    def lines(self) -> list[tuple[str, str]]:
        """The figures for a table: what each is, and its value."""
        routing = len(self.qubits) - self.model_qubits
        length = (
            "not known" if self.duration is None else f"{1e6 * self.duration:.2f} µs, reset and measurement included"
        )
        return [
            ("processor", f"{self.processor}, {self.processor_qubits} qubits"),
            ("qubits", ", ".join(map(str, self.qubits)) + (f" ({routing} of them for routing)" if routing else "")),
            ("depth", f"{self.depth} native gates"),
            ("two-qubit gates", f"{self.two_qubit_gates}, in {self.two_qubit_depth} layers"),
            ("duration of one execution", length),
            ("estimated fidelity", f"{self.estimated_fidelity:.1%} (gates and readout, by the calibration)"),
        ]
