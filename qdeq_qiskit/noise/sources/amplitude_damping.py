"""Amplitude damping."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import Field

from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.sources._source import BySize


@final
class AmplitudeDamping(BySize):
    """Every qubit of the gate decays from |1⟩ to |0⟩ with probability γ (Nielsen and Chuang, 8.3.5).

    γ is scaled to 1 − (1 − γ)^λ, so that λ times the damping is the damping during λ times the time.
    """

    kind: Literal["amplitude_damping"] = "amplitude_damping"
    one_qubit: float | None = Field(
        default=None, ge=0, le=1, description="γ after gates of one qubit; null: they have no error."
    )
    two_qubit: float | None = Field(
        default=None, ge=0, le=1, description="γ of each qubit after gates of two; null: they have no error."
    )

    def error(self, name: str, num_qubits: int, scale: float) -> np.ndarray | None:
        gamma = self.strength(num_qubits)
        if gamma is None:
            return None
        return channels.on_each(channels.amplitude_damping(1 - (1 - gamma) ** scale), num_qubits)

    def check_scale(self, scale: float) -> None:
        pass  # 1 − (1 − γ)^λ is a probability for every λ

    def describe(self) -> str:
        return f"amplitude damping ({self.strengths()})"
