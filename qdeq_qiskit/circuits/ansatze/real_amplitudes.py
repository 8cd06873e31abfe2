"""Qiskit's `real_amplitudes`: layers of RY and CX."""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import Field
from qiskit.circuit.library import real_amplitudes

from ._ansatz import Ansatz, AnsatzRecipe


@final
class RealAmplitudesRecipe(AnsatzRecipe):
    """Qiskit's `real_amplitudes`: layers of RY and CX; see its documentation for the options."""

    kind: Literal["real_amplitudes"] = "real_amplitudes"
    reps: Annotated[int, Field(ge=0)] = Field(default=3, description="Repetitions of rotations and entanglement.")
    entanglement: Literal["full", "linear", "reverse_linear", "pairwise", "circular", "sca"] = Field(
        default="reverse_linear", description="Which wires the CX gates join."
    )

    def build(self, num_qubits: int) -> Ansatz:
        return Ansatz(real_amplitudes(num_qubits, entanglement=self.entanglement, reps=self.reps))
