"""Depolarising errors."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import Field

from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.sources._source import BySize, scaled_probability


@final
class Depolarizing(BySize):
    r"""\(ρ ↦ (1 - p) ρ + p\, \mathrm{Tr}[ρ]\, 1 / 2^n\) on a gate's qubits together, Aer's convention."""

    kind: Literal["depolarizing"] = "depolarizing"
    one_qubit: float | None = Field(
        default=None, ge=0, le=1, description="p after gates of one qubit; null: they have no error."
    )
    two_qubit: float | None = Field(
        default=None, ge=0, le=1, description="p after gates of two qubits; null: they have no error."
    )

    def error(self, name: str, num_qubits: int, scale: float) -> np.ndarray | None:
        probability = self.strength(num_qubits)
        if probability is None:
            return None
        return channels.depolarizing(probability * scale, num_qubits)

    def check_scale(self, scale: float) -> None:
        for key in ("one_qubit", "two_qubit"):
            scaled_probability(key, getattr(self, key) or 0.0, scale)

    def describe(self) -> str:
        return f"depolarising ({self.strengths()})"
