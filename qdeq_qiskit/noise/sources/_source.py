"""What every source of noise is: a recipe that says what goes wrong at each gate and readout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.transpiler import Target

from qdeq_qiskit.circuits._registry import unknown_name
from qdeq_qiskit.noise.circuit_noise import CircuitNoise
from qdeq_qiskit.noise.compiled_gates import Compiled, possible_gates

# Rotations about Z are a change of frame on most machines: they take no time and have no error.
VIRTUAL = ("rz", "id", "barrier", "delay")


class Source(BaseModel, ABC):
    """One source of noise. A subclass adds `kind: Literal["name"] = "name"` and its own options."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @abstractmethod
    def build(self, compiled: Compiled, scale: float) -> CircuitNoise:
        """The noise on a compiled circuit, scaled by the factor λ.

        Raises:
            ValueError: the source does not suit the circuit.
        """

    @abstractmethod
    def check_scale(self, scale: float) -> None:
        """ValueError if the factor λ drives one of the source's parameters out of its range."""

    @property
    @abstractmethod
    def processor(self) -> Target | None:
        """The processor that the source is a snapshot of; None if it is no snapshot."""

    @property
    def misreads(self) -> bool:
        """Whether there may be readout errors, if it is not scaled to nothing."""
        return True

    @abstractmethod
    def describe(self) -> str:
        """The source in a few words, for tables and reports."""


class GateSource(Source, ABC):
    """A source that depends on a gate's name and number of qubits only, the same everywhere on the machine."""

    virtual: tuple[str, ...] = Field(default=VIRTUAL, description="Gates without an error, such as [rz, id].")

    @field_validator("virtual")
    @classmethod
    def _are_gates(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = [*get_standard_gate_name_mapping(), "barrier"]
        for name in names:
            if name not in known:
                raise ValueError(unknown_name("virtual", name, known))
        return names

    @model_validator(mode="after")
    def _is_about_some_gates(self) -> Self:
        if self.strength(1) is None and self.strength(2) is None:
            raise ValueError("it gives no gate an error; set one_qubit, two_qubit or both (0 is an error of zero)")
        return self

    @abstractmethod
    def error(self, name: str, num_qubits: int, scale: float) -> np.ndarray | None:
        """The superoperator after a gate, (4ⁿ, 4ⁿ), scaled by λ; None if such gates have no error.

        Raises:
            ValueError: the source does not suit the gate.
        """

    @property
    def processor(self) -> None:
        return None

    @property
    def misreads(self) -> bool:
        return False

    @abstractmethod
    def strength(self, num_qubits: int) -> float | None:
        """The option for gates of that many qubits; None if they have no error."""

    def build(self, compiled: Compiled, scale: float) -> CircuitNoise:
        gates = [(name, qubits) for name, qubits in possible_gates(compiled) if name not in self.virtual]
        kinds = sorted({(name, len(qubits)) for name, qubits in gates})
        superops = {(name, size): self.error(name, size, scale) for name, size in kinds}
        errors = {}
        for name, qubits in sorted(gates):
            superop = superops[name, len(qubits)]
            if superop is not None:
                errors[name, qubits] = superop
        return CircuitNoise(compiled.circuit.num_qubits, errors=errors, names=self._about())

    def _about(self) -> frozenset[str]:
        """What the source is about, in words."""
        sizes = [f"{words}-qubit" for number, words in ((1, "one"), (2, "two")) if self.strength(number) is not None]
        return frozenset({f"{' and '.join(sizes)} gates but {', '.join(self.virtual)}"})


class BySize(GateSource, ABC):
    """A source with one option for gates of one qubit, and one for gates of two."""

    one_qubit: float | None
    two_qubit: float | None

    def strength(self, num_qubits: int) -> float | None:
        return self.one_qubit if num_qubits == 1 else self.two_qubit

    def strengths(self) -> str:
        """The options that are given, such as `1q 0.001, 2q 0.01`."""
        return ", ".join(f"{size}q {value:g}" for size in (1, 2) if (value := self.strength(size)) is not None)


def scaled_probability(key: str, probability: float, scale: float) -> float:
    """p → λp.

    Raises:
        ValueError: λp is above 1.
    """
    if probability * scale > 1:
        raise ValueError(
            f"scale {scale:g} drives {key} from {probability:g} to {probability * scale:g}, which is no probability; "
            f"the largest scale here is {1 / probability:g}"
        )
    return probability * scale
