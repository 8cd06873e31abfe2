"""Circuits with a noise model."""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field, model_validator

from qdeq_qiskit.backends.kinds._noisy_options import NoisyOptions
from qdeq_qiskit.noise import NoiseRecipe

_BASIS_GATES = ("rz", "sx", "x", "cz")


@final
class NoisyBackend(NoisyOptions):
    """A circuit in native gates with a noise model, exact expectation values or shots; trains."""

    kind: Literal["noisy"] = "noisy"
    noise: NoiseRecipe = Field(description="What goes wrong: a noise recipe, by name or in place.")
    basis_gates: tuple[str, ...] | None = Field(
        default=_BASIS_GATES,
        description="Native gates, on any qubits; null for the circuit's own. Leave it out if the noise is a snapshot.",
    )

    @model_validator(mode="after")
    def _has_one_basis(self) -> NoisyBackend:
        if "basis_gates" in self.model_fields_set and self.noise.processor is not None:
            raise ValueError("basis_gates: the noise is a processor's, which has native gates of its own; leave it out")
        return self

    def noise_recipe(self) -> NoiseRecipe:
        return self.noise

    def basis(self) -> tuple[str, ...] | None:
        return self.basis_gates
