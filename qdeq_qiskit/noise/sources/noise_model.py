"""Any noise model of Qiskit Aer."""

from __future__ import annotations

from typing import Any, Literal, final

from pydantic import Field, field_validator

from qdeq_qiskit.aer import require_aer_noise
from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.circuit_noise import IDLE, CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Compiled, possible_gates
from qdeq_qiskit.noise.sources._source import Source


@final
class AerNoise(Source):
    """A `qiskit_aer.noise.NoiseModel`, given in Python; its qubits are the processor's.

    It is scaled as fixed channels are: λ = k + f is the error k times, then once more with probability f.
    """

    kind: Literal["aer"] = "aer"
    model: Any = Field(description="A qiskit_aer.noise.NoiseModel; it can be given in Python only.")

    @field_validator("model")
    @classmethod
    def _is_a_noise_model(cls, model: Any) -> Any:
        if not isinstance(model, require_aer_noise().NoiseModel):
            raise ValueError(
                "expected a qiskit_aer.noise.NoiseModel, which can be given in Python only; "
                "a YAML recipe says depolarizing, snapshot or another kind"
            )
        return model

    @property
    def processor(self) -> None:
        return None

    def build(self, compiled: Compiled, scale: float) -> CircuitNoise:
        wires = range(compiled.circuit.num_qubits)
        noise = CircuitNoise.from_aer(
            self.model,
            possible_gates(compiled) | {(IDLE, (wire,)) for wire in wires},
            num_qubits=len(wires),
            physical=compiled.physical,
        )
        return noise.scaled(scale)

    def check_scale(self, scale: float) -> None:
        channels.check_repetitions(scale)

    def describe(self) -> str:
        return f"a noise model of Aer (on {', '.join(sorted(self.model.noise_instructions)) or 'nothing'})"
