"""Amplitude damping."""

from __future__ import annotations

from typing import Literal, final

import numpy as np

from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.sources._damping import Damping


@final
class AmplitudeDamping(Damping):
    """Every qubit of the gate decays from |1⟩ to |0⟩ with probability γ (Nielsen and Chuang, 8.3.5)."""

    kind: Literal["amplitude_damping"] = "amplitude_damping"

    def channel(self, gamma: float) -> np.ndarray:
        return channels.amplitude_damping(gamma)

    def describe(self) -> str:
        return f"amplitude damping ({self.strengths()})"
