"""The noise of a calibrated processor."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, final

from pydantic import Field, field_validator, model_validator
from qiskit.transpiler import Target

from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.calibration import load_calibration
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Compiled
from qdeq_qiskit.noise.snapshots import Snapshot
from qdeq_qiskit.noise.sources._source import Source


@final
class SnapshotNoise(Source):
    """A processor's calibrated gate errors, relaxation and readout errors, on the qubits in use.

    It is scaled as fixed channels are: λ = k + f is the error k times, then once more with probability f.
    """

    kind: Literal["snapshot"] = "snapshot"
    name: str | None = Field(default=None, description="A fake backend of Qiskit Runtime, such as fake_torino.")
    calibration: Path | None = Field(default=None, description="A file that save_calibration wrote.")
    idle_relaxation: bool = Field(
        default=False, description="Whether qubits relax during the delays of a scheduled circuit too."
    )

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is not None:
            Snapshot.fake(name)
        return name

    @field_validator("calibration")
    @classmethod
    def _is_readable(cls, path: Path | None) -> Path | None:
        if path is not None:
            load_calibration(path)
        return path

    @model_validator(mode="after")
    def _is_one_processor(self) -> SnapshotNoise:
        if (self.name is None) == (self.calibration is None):
            raise ValueError(
                "a snapshot needs either name (a fake backend, such as fake_torino) or calibration (a file), "
                f"and {'neither is given' if self.name is None else 'not both'}"
            )
        return self

    @property
    def snapshot(self) -> Snapshot:
        """The processor."""
        if self.calibration is not None:
            return load_calibration(self.calibration)
        assert self.name is not None
        return Snapshot.fake(self.name)

    @property
    def processor(self) -> Target:
        return self.snapshot.target

    def build(self, compiled: Compiled, scale: float) -> CircuitNoise:
        return self.snapshot.noise(compiled, idle_relaxation=self.idle_relaxation).scaled(scale)

    def check_scale(self, scale: float) -> None:
        channels.check_repetitions(scale)

    def describe(self) -> str:
        return f"snapshot of {self.snapshot.name}{' with idle relaxation' if self.idle_relaxation else ''}"
