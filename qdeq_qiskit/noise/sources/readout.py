"""Readout error."""

from __future__ import annotations

from typing import Annotated, Literal, final

import numpy as np
from pydantic import Field

from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Compiled
from qdeq_qiskit.noise.sources._source import Source, scaled_probability

Probability = Annotated[float, Field(ge=0, le=1)]


@final
class Readout(Source):
    """Each qubit's bit is read wrongly, independently of the others."""

    kind: Literal["readout"] = "readout"
    error: Probability | tuple[Probability, Probability] = Field(
        description="Probability of a wrong bit, or the two of [reading 1 after 0, reading 0 after 1]."
    )

    @property
    def processor(self) -> None:
        return None

    @property
    def pair(self) -> tuple[float, float]:
        """(P(1 | 0), P(0 | 1))."""
        return self.error if isinstance(self.error, tuple) else (self.error, self.error)

    def build(self, compiled: Compiled, scale: float) -> CircuitNoise:
        up, down = (scaled_probability("error", probability, scale) for probability in self.pair)
        matrix = np.array([[1 - up, down], [up, 1 - down]])
        wires = range(compiled.circuit.num_qubits)
        return CircuitNoise(len(wires), assignments=dict.fromkeys(wires, matrix))

    def check_scale(self, scale: float) -> None:
        for probability in self.pair:
            scaled_probability("error", probability, scale)

    def describe(self) -> str:
        up, down = self.pair
        return f"readout error {up:g}" if up == down else f"readout error {up:g} after 0, {down:g} after 1"
