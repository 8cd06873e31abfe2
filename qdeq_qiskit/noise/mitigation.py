"""Mitigation options, and what they cost.

What each option does, and on which route, is told in docs/how-to/mitigation.md; `backends.mitigated` runs them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, final

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

# What the short names on a command line stand for.
_SHORT_NAMES: dict[str, dict[str, Any]] = {
    "none": {},
    "matrix": {"readout": "matrix"},
    "trex": {"readout": "trex"},
    "zne": {"zne": {}},
    "twirling": {"twirling": {}},
    "dd": {"dynamical_decoupling": "XX"},
}
_NEEDED_FACTORS = {"linear": 2, "exponential": 2, "polynomial_degree_2": 3, "polynomial_degree_3": 4}


@final
class ZeroNoiseExtrapolation(BaseModel):
    """Two-qubit gates are folded, G → G G⁻¹ G, and the values extrapolated to none of their noise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    noise_factors: tuple[float, ...] = Field(
        default=(1, 3, 5), description="How many times the noise is there; folding is exact at odd numbers."
    )
    extrapolator: Literal["linear", "exponential", "polynomial_degree_2", "polynomial_degree_3"] = Field(
        default="linear",
        description="The curve through the values; where an exponential does not fit, it is a line.",
    )
    amplifier: Literal["gate_folding", "gate_folding_front", "gate_folding_back"] = Field(
        default="gate_folding",
        description="Which gates are folded once more for factors between odd numbers: front takes the first ones.",
    )

    @field_validator("amplifier", mode="before")
    @classmethod
    def _is_no_pea(cls, amplifier: Any) -> Any:
        if amplifier == "pea":
            raise ValueError(
                "pea amplifies a layer's noise as learned on a processor beforehand, and locally nothing is learned; "
                "take gate_folding"
            )
        return amplifier

    @model_validator(mode="after")
    def _can_be_fitted(self) -> ZeroNoiseExtrapolation:
        factors = self.noise_factors
        if list(factors) != sorted(set(factors)) or not all(1 <= factor < math.inf for factor in factors):
            raise ValueError(
                f"noise_factors must be finite, at least 1 and increasing, such as [1, 3, 5], not {factors}"
            )
        if len(factors) < _NEEDED_FACTORS[self.extrapolator]:
            raise ValueError(
                f"extrapolator {self.extrapolator} needs at least {_NEEDED_FACTORS[self.extrapolator]} noise_factors, "
                f"not {len(factors)}"
            )
        if self.amplifier == "gate_folding" and any(factor % 2 != 1 for factor in factors):
            raise ValueError(
                f"amplifier gate_folding folds gates at random, unseeded, for noise_factors {factors}; "
                "take odd numbers, or gate_folding_front or gate_folding_back"
            )
        return self


@final
class Twirling(BaseModel):
    """Random Paulis around two-qubit Clifford gates, undone after them: coherent errors become random ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: Literal["active", "active-accum", "active-circuit", "all"] = Field(
        default="active-accum",
        description="Wires that are twirled with a layer of gates: those of its gates (active), of all gates so far "
        "(active-accum), of all gates (active-circuit), or all.",
    )


@final
class MitigationRecipe(BaseModel):
    """What is done against noise. A text of short names, such as `trex+zne`, will do in place of a mapping."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    readout: Literal["none", "matrix", "trex"] = Field(
        default="none",
        description="Readout errors: matrix inverts the assignment matrix of each wire, trex is twirled readout error "
        "extinction with a calibration in every job.",
    )
    zne: ZeroNoiseExtrapolation | None = Field(default=None, description="Zero-noise extrapolation; {} for defaults.")
    twirling: Twirling | None = Field(default=None, description="Pauli twirling of two-qubit gates; {} for defaults.")
    dynamical_decoupling: Literal["XX", "XpXm", "XY4"] | None = Field(
        default=None, description="Pulses on waiting wires, in this sequence."
    )
    randomizations: int = Field(
        default=32, ge=1, le=10_000, description="Random circuits that twirling and trex share shots over."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_short_names(cls, value: Any) -> Any:
        return _parsed(value) if isinstance(value, str) else value

    @classmethod
    def parse(cls, names: str) -> MitigationRecipe:
        """The recipe of short names joined by `+` or commas: none, matrix, trex, zne, twirling, dd.

        Raises:
            ValueError: a name is unknown, or two of them contradict each other.
        """
        return cls.model_validate(_parsed(names))

    @property
    def is_none(self) -> bool:
        """Whether nothing is done."""
        return self.readout == "none" and not self.needs_estimator

    @property
    def needs_estimator(self) -> bool:
        """Whether it takes circuits of its own, so that only Runtime's estimator can do it, with shots."""
        return self.readout == "trex" or self.dynamical_decoupling is not None or bool(self.zne) or bool(self.twirling)

    def overhead(self, shots: int, *, num_bases: int = 1) -> MitigationCost:
        """What an evaluation costs.

        With N shots, M bases and F noise factors (1 without zero-noise extrapolation), and R random circuits where
        there is twirling or trex, min(randomizations, N), else 1: M·F·R circuits of S = ⌈N/R⌉ shots each for one row of
        angles; with trex, R calibration circuits of S shots each for one job, whatever the number of rows.

        Args:
            shots: N, of one row of angles in one basis at one noise factor.
            num_bases: M, bases that are measured.

        Raises:
            ValueError: there are no shots, or no bases.
        """
        if shots < 1 or num_bases < 1:
            raise ValueError(f"overhead: shots and num_bases must be at least 1, not {shots} and {num_bases}")
        random = self.readout == "trex" or self.twirling is not None
        randomizations = min(self.randomizations, shots) if random else 1
        factors = len(self.zne.noise_factors) if self.zne else 1
        return MitigationCost(
            num_bases=num_bases,
            shots=shots,
            randomizations=randomizations,
            shots_per_circuit=math.ceil(shots / randomizations),
            circuits_per_row=num_bases * factors * randomizations,
            calibration_circuits=randomizations if self.readout == "trex" else 0,
        )

    def describe(self) -> str:
        """The options in a few words: the short names, with what differs from them in brackets."""
        parts: list[str] = [self.readout] if self.readout != "none" else []
        if self.zne:
            changed = [f"{self.zne.extrapolator}"] if self.zne.extrapolator != "linear" else []
            if self.zne.noise_factors != (1, 3, 5):
                changed.append("×" + "/".join(f"{factor:g}" for factor in self.zne.noise_factors))
            parts.append("zne" + (f"({', '.join(changed)})" if changed else ""))
        if self.twirling:
            parts.append("twirling")
        if self.dynamical_decoupling:
            parts.append("dd" + (f"({self.dynamical_decoupling})" if self.dynamical_decoupling != "XX" else ""))
        return "+".join(parts) or "none"


@final
@dataclass(frozen=True)
class MitigationCost:
    """Circuits and shots of mitigated evaluations.

    Attributes:
        num_bases: bases that are measured, M: the circuits of one row of angles without mitigation.
        shots: shots of each of these circuits without mitigation, N.
        randomizations: random circuits in place of each, R.
        shots_per_circuit: S.
        circuits_per_row: for one row of angles, with mitigation, calibration not included.
        calibration_circuits: for one job.
    """

    num_bases: int
    shots: int
    randomizations: int
    shots_per_circuit: int
    circuits_per_row: int
    calibration_circuits: int

    @property
    def configurations_per_row(self) -> int:
        """Bases times noise factors: what N shots are taken of for one row of angles."""
        return self.circuits_per_row // self.randomizations

    @property
    def shots_per_row(self) -> int:
        """Shots for one row of angles, calibration not included."""
        return self.circuits_per_row * self.shots_per_circuit

    @property
    def calibration_shots(self) -> int:
        """Shots of the calibration of one job."""
        return self.calibration_circuits * self.shots_per_circuit

    @property
    def circuit_factor(self) -> float:
        """How many times the circuits of an unmitigated row a mitigated one takes."""
        return self.circuits_per_row / self.num_bases

    @property
    def shot_factor(self) -> float:
        """How many times the shots of an unmitigated row a mitigated one takes."""
        return self.shots_per_row / (self.num_bases * self.shots)

    def circuits(self, rows: int, *, jobs: int = 1) -> int:
        """Circuits of some rows in some jobs, calibrations included."""
        return rows * self.circuits_per_row + jobs * self.calibration_circuits

    def total_shots(self, rows: int, *, jobs: int = 1) -> int:
        """Shots of some rows in some jobs, calibrations included."""
        return rows * self.shots_per_row + jobs * self.calibration_shots


def _parsed(names: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for name in filter(None, (part.strip() for part in names.replace(",", "+").split("+"))):
        if name not in _SHORT_NAMES:
            raise ValueError(f"there is no mitigation {name!r}; there are {', '.join(_SHORT_NAMES)}")
        for key, value in _SHORT_NAMES[name].items():
            if options.get(key, value) != value:
                raise ValueError(f"mitigation {names!r} asks for {key} {options[key]!r} and {value!r}; choose one")
            options[key] = value
    return options
