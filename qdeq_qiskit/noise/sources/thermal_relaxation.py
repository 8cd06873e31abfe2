"""Thermal relaxation during gates."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from qdeq_qiskit.noise import channels
from qdeq_qiskit.noise.sources._source import GateSource


class GateDurations(BaseModel):
    """How long gates take, by their number of qubits."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    one_qubit: float | None = Field(
        default=None, ge=0, description="Of gates of one qubit, in seconds; null: they take no time."
    )
    two_qubit: float | None = Field(
        default=None, ge=0, description="Of gates of two qubits, in seconds; null: they take no time."
    )


@final
class ThermalRelaxation(GateSource):
    """Every qubit of a gate relaxes towards |0⟩ for the gate's duration t.

    Populations decay with exp(−t/T1), coherences with exp(−t/T2). Durations are scaled by λ.
    """

    kind: Literal["thermal_relaxation"] = "thermal_relaxation"
    t1: float = Field(gt=0, description="T1, in seconds.")
    t2: float = Field(gt=0, description="T2, in seconds; at most 2·T1.")
    durations: GateDurations = Field(description="How long gates take, in seconds.")

    @model_validator(mode="after")
    def _is_physical(self) -> ThermalRelaxation:
        if self.t2 > 2 * self.t1:
            raise ValueError(
                f"t2 is {self.t2:g} s, more than twice t1 ({self.t1:g} s); a qubit that decays loses its coherence at "
                f"least half as fast, so t2 is at most {2 * self.t1:g}"
            )
        return self

    def strength(self, num_qubits: int) -> float | None:
        return self.durations.one_qubit if num_qubits == 1 else self.durations.two_qubit

    def error(self, name: str, num_qubits: int, scale: float) -> np.ndarray | None:
        duration = self.strength(num_qubits)
        if duration is None:
            return None
        return channels.on_each(channels.relaxation(self.t1, self.t2, duration * scale), num_qubits)

    def check_scale(self, scale: float) -> None:
        pass  # every duration is one

    def describe(self) -> str:
        return f"thermal relaxation (T1 {self.t1 * 1e6:g} µs, T2 {self.t2 * 1e6:g} µs)"
