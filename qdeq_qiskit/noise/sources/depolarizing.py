"""Depolarising errors."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import Field

from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Compiled
from qdeq_qiskit.noise.sources._source import GateSource, noise_after_gates, scaled_probability


@final
class Depolarizing(GateSource):
    r"""\(ρ ↦ (1 - p) ρ + p\, \mathrm{Tr}[ρ]\, 1 / 2^n\) on the qubits of the gate, as Aer's `depolarizing_error`."""

    kind: Literal["depolarizing"] = "depolarizing"
    one_qubit: float | None = Field(
        default=None, ge=0, le=1, description="p after gates of one qubit; null: they have no error."
    )
    two_qubit: float | None = Field(
        default=None, ge=0, le=1, description="p after gates of two qubits; null: they have no error."
    )

    def build(self, compiled: Compiled, scale: float) -> CircuitNoise:
        probability = {1: self._scaled(1, scale), 2: self._scaled(2, scale)}

        def error(_: str, num_qubits: int) -> np.ndarray | None:
            p = probability[num_qubits]
            return None if p is None else channels.depolarizing(p, num_qubits)

        return noise_after_gates(compiled, self.virtual, error)

    def check_scale(self, scale: float) -> None:
        for num_qubits in (1, 2):
            self._scaled(num_qubits, scale)

    def describe(self) -> str:
        return f"depolarising (1q {self.one_qubit or 0:g}, 2q {self.two_qubit or 0:g})"

    def _scaled(self, num_qubits: int, scale: float) -> float | None:
        key = ("one_qubit", "two_qubit")[num_qubits - 1]
        return scaled_probability(key, getattr(self, key), scale)
