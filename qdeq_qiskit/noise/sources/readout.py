"""Readout error."""

from __future__ import annotations

from typing import Any, Literal, final

import numpy as np
from pydantic import Field, field_validator

from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Compiled
from qdeq_qiskit.noise.sources._source import Source, scaled_probability


@final
class Readout(Source):
    """Each qubit's bit is read wrongly, independently of the others."""

    kind: Literal["readout"] = "readout"
    error: tuple[float, float] = Field(
        description="Probability of a wrong bit, or the two of [reading 1 after 0, reading 0 after 1]."
    )

    @field_validator("error", mode="before")
    @classmethod
    def _is_one_or_two_probabilities(cls, error: Any) -> tuple[float, float]:
        pair = tuple(error) if isinstance(error, list | tuple) else (error, error)
        if len(pair) != 2 or not all(_is_probability(each) for each in pair):
            raise ValueError(
                "expected a probability from 0 to 1, or two of them: [reading 1 after 0, reading 0 after 1]"
            )
        return pair

    @property
    def processor(self) -> None:
        return None

    @property
    def misreads(self) -> bool:
        return any(self.error)

    def build(self, compiled: Compiled, scale: float) -> CircuitNoise:
        up, down = (scaled_probability("error", probability, scale) for probability in self.error)
        matrix = np.array([[1 - up, down], [up, 1 - down]])
        wires = range(compiled.circuit.num_qubits)
        return CircuitNoise(len(wires), assignments=dict.fromkeys(wires, matrix))

    def check_scale(self, scale: float) -> None:
        for probability in self.error:
            scaled_probability("error", probability, scale)

    def describe(self) -> str:
        up, down = self.error
        return f"readout error {up:g}" if up == down else f"readout error {up:g} after 0, {down:g} after 1"


def _is_probability(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
