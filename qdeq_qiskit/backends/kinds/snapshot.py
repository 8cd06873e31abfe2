"""Calibrated copies of processors."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, final

from pydantic import Field, model_validator

from qdeq_qiskit.backends.kinds._noisy_options import NoisyOptions
from qdeq_qiskit.noise import NoiseRecipe
from qdeq_qiskit.noise.sources.snapshot import SnapshotNoise


@final
class SnapshotBackend(NoisyOptions):
    """A snapshot of a processor: its coupling map and native gates, gate noise and readout errors.

    Encoder and ansatz are compiled together, once, on the qubits that promise the least error.
    """

    kind: Literal["snapshot"] = "snapshot"
    name: str | None = Field(default=None, description="A fake backend of Qiskit Runtime, such as fake_torino.")
    calibration: Path | None = Field(default=None, description="A file that save_calibration wrote.")
    idle_relaxation: bool = Field(default=False, description="Whether wires relax while they wait, too.")
    scale: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="The factor λ that all noise is scaled by."
    )
    twirled: bool = Field(default=False, description="Whether each gate's error is replaced by its Pauli twirl.")

    @model_validator(mode="after")
    def _is_known(self) -> SnapshotBackend:
        self.noise_recipe()
        return self

    def noise_recipe(self) -> NoiseRecipe:
        source = SnapshotNoise(name=self.name, calibration=self.calibration, idle_relaxation=self.idle_relaxation)
        return NoiseRecipe(sources=(source,), scale=self.scale, twirled=self.twirled)

    def basis(self) -> tuple[str, ...] | None:
        return None
