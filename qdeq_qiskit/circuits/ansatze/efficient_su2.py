"""Qiskit's `efficient_su2`: layers of single-qubit rotations and CX."""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import Field
from qiskit.circuit.library import efficient_su2

from .._limits import check_gates
from ._ansatz import Ansatz, AnsatzRecipe


@final
class EfficientSU2Recipe(AnsatzRecipe):
    """Qiskit's `efficient_su2`: layers of single-qubit rotations and CX; see its documentation for the options."""

    kind: Literal["efficient_su2"] = "efficient_su2"
    reps: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=3, description="Repetitions of rotations and entanglement."
    )
    entanglement: Literal["full", "linear", "reverse_linear", "pairwise", "circular", "sca"] = Field(
        default="reverse_linear", description="Which wires the CX gates join."
    )
    su2_gates: tuple[Literal["rx", "ry", "rz", "x", "y", "z", "h", "s", "sx"], ...] = Field(
        default=("ry", "rz"), description="The gates of each rotation layer, in order."
    )

    def build(self, num_qubits: int) -> Ansatz:
        joined = num_qubits * (num_qubits - 1) // 2 if self.entanglement == "full" else num_qubits
        layer = num_qubits * len(self.su2_gates) + joined
        check_gates("efficient_su2", (self.reps + 1) * layer, "take fewer reps or num_qubits, or another entanglement")
        circuit = efficient_su2(
            num_qubits, su2_gates=list(self.su2_gates), entanglement=self.entanglement, reps=self.reps
        )
        if circuit.num_parameters == 0:
            raise ValueError(f"efficient_su2: su2_gates {list(self.su2_gates)} leave nothing to train; add a rotation")
        return Ansatz(circuit)
