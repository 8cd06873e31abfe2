"""Qiskit's `real_amplitudes`: layers of RY and CX."""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import Field
from qiskit.circuit.library import real_amplitudes

from .._limits import check_gates
from ._ansatz import Ansatz, AnsatzRecipe


@final
class RealAmplitudesRecipe(AnsatzRecipe):
    """Qiskit's `real_amplitudes`: layers of RY and CX; see its documentation for the options."""

    kind: Literal["real_amplitudes"] = "real_amplitudes"
    reps: Annotated[int, Field(ge=0, le=10_000)] = Field(
        default=3, description="Repetitions of rotations and entanglement."
    )
    entanglement: Literal["full", "linear", "reverse_linear", "pairwise", "circular", "sca"] = Field(
        default="reverse_linear", description="Which wires the CX gates join."
    )

    def build(self, num_qubits: int) -> Ansatz:
        joined = num_qubits * (num_qubits - 1) // 2 if self.entanglement == "full" else num_qubits
        layer = num_qubits + joined
        check_gates(
            "real_amplitudes", (self.reps + 1) * layer, "take fewer reps or num_qubits, or another entanglement"
        )
        return Ansatz(real_amplitudes(num_qubits, entanglement=self.entanglement, reps=self.reps))
