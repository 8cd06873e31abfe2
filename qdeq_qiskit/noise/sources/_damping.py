"""What the kinds of damping share: a strength γ on every qubit of a gate, which time makes exponential."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
from pydantic import Field

from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.sources._source import BySize


class Damping(BySize):
    """A channel of strength γ on each qubit of a gate; abstract.

    γ is scaled to 1 − (1 − γ)^λ, so that λ times the damping is the damping during λ times the time.
    """

    one_qubit: float | None = Field(
        default=None, ge=0, le=1, description="γ after gates of one qubit; null: they have no error."
    )
    two_qubit: float | None = Field(
        default=None, ge=0, le=1, description="γ of each qubit after gates of two; null: they have no error."
    )

    @abstractmethod
    def channel(self, gamma: float) -> np.ndarray:
        """The superoperator, (4, 4), on one qubit."""

    def error(self, name: str, num_qubits: int, scale: float) -> np.ndarray | None:
        gamma = self.strength(num_qubits)
        return None if gamma is None else channels.on_each(self.channel(1 - (1 - gamma) ** scale), num_qubits)

    def check_scale(self, scale: float) -> None:
        pass  # 1 − (1 − γ)^λ is a probability for every λ
