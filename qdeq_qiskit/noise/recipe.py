"""A noise recipe: sources of noise, one after the other, scaled by one factor."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from qiskit.transpiler import Target

from qdeq_qiskit import recipes
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Compiled
from qdeq_qiskit.noise.sources import AnySource, Source
from qdeq_qiskit.noise.sources.snapshot import SnapshotNoise

KIND = "noise"


@final
class NoiseRecipe(BaseModel):
    """What goes wrong: the sources act after each gate and at each readout, in the order in which they are listed."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    description: str = Field(default="", description="One line about the noise, shown in listings.")
    sources: tuple[AnySource, ...] = Field(
        description="Sources of noise, each a mapping with a kind, in the order in which they act."
    )
    scale: float = Field(default=1.0, ge=0, description="The factor λ that every source is scaled by.")
    twirled: bool = Field(default=False, description="Whether each gate's error is replaced by its Pauli twirl.")

    @field_validator("sources")
    @classmethod
    def _is_not_empty(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        if not sources:
            raise ValueError("expected at least one source, such as [{kind: depolarizing, two_qubit: 0.01}]")
        return sources

    @model_validator(mode="after")
    def _is_consistent(self) -> NoiseRecipe:
        for source in self.sources:
            source.check_scale(self.scale)
        snapshots = [source for source in self.sources if source.processor is not None]
        if len(snapshots) > 1:
            raise ValueError(
                f"sources has {len(snapshots)} snapshots, but a circuit runs on one processor; keep one of them"
            )
        return self

    @classmethod
    def load(cls, name_or_path: str | Path, overrides: str | tuple[str, ...] | list[str] = ()) -> NoiseRecipe:
        """A recipe by name or path, with overrides such as `"scale=2"`.

        Raises:
            RecipeError: the file, a key or a value is wrong.
        """
        recipe: NoiseRecipe = recipes.load(KIND, name_or_path, cls, overrides=overrides)
        return recipe

    @property
    def processor(self) -> Target | None:
        """The processor whose snapshot is among the sources: coupling, basis gates, durations and errors."""
        return next((source.processor for source in self.sources if source.processor is not None), None)

    @property
    def idle_relaxation(self) -> bool:
        """Whether qubits relax while they wait, so that the circuit must be compiled with its delays."""
        return any(source.idle_relaxation for source in self.sources if isinstance(source, SnapshotNoise))

    @property
    def misreads(self) -> bool:
        """Whether there may be readout errors, which a mitigation of the readout needs to have any effect."""
        return self.scale > 0 and any(source.misreads for source in self.sources)

    def build(self, compiled: Compiled) -> CircuitNoise:
        """The noise on a compiled circuit.

        Raises:
            ValueError: a source does not suit the circuit.
        """
        noise = reduce(CircuitNoise.then, (source.build(compiled, self.scale) for source in self.sources))
        if compiled.target is not None:
            noise = replace(noise, dt=compiled.target.dt)
        return noise.twirled() if self.twirled else noise

    def scaled(self, factor: float) -> NoiseRecipe:
        """The same noise, scaled by a further factor.

        Raises:
            ValueError: the factor drives a parameter out of its range.
        """
        if not 0 <= factor < math.inf:
            raise ValueError(f"noise is scaled by a finite factor of at least 0, not by {factor}")
        scale = self.scale * factor
        for source in self.sources:
            source.check_scale(scale)  # here, a plain message; below, one among pydantic's
        return NoiseRecipe(description=self.description, sources=self.sources, scale=scale, twirled=self.twirled)

    def describe(self) -> str:
        """The noise in a few words, for tables and reports."""
        text = " + ".join(source.describe() for source in self.sources)
        scale = f", scaled by {self.scale:g}" if self.scale != 1 else ""
        return f"{text}{scale}{', twirled' if self.twirled else ''}"
