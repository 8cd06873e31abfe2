"""Phase damping."""

from __future__ import annotations

from typing import Literal, final

import numpy as np

from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.sources._damping import Damping


@final
class PhaseDamping(Damping):
    """The coherences of every qubit of the gate are multiplied by √(1 − γ) (Nielsen and Chuang, 8.3.6)."""

    kind: Literal["phase_damping"] = "phase_damping"

    def channel(self, gamma: float) -> np.ndarray:
        return channels.phase_damping(gamma)

    def describe(self) -> str:
        return f"phase damping ({self.strengths()})"
