"""What every source of noise is: a recipe that says what goes wrong at each gate and readout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from qiskit.transpiler import Target

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
    def processor(self) -> Target | None:
        """The processor that the source is a snapshot of, if it is one."""
        return None

    @abstractmethod
    def describe(self) -> str:
        """The source in a few words, for tables and reports."""


class GateSource(Source, ABC):
    """A source whose error after a gate depends on the gate alone, the same on every qubit."""

    virtual: tuple[str, ...] = Field(default=VIRTUAL, description="Gates without an error, such as [rz, id].")


def noise_after_gates(
    compiled: Compiled, virtual: tuple[str, ...], error: Callable[[str, int], np.ndarray | None]
) -> CircuitNoise:
    """The noise of `error(name, number of qubits)`, a superoperator or None, after every gate that is not virtual."""
    found: dict[tuple[str, int], np.ndarray] = {}
    gates = [(name, qubits) for name, qubits in sorted(possible_gates(compiled)) if name not in virtual]
    for name, size in {(name, len(qubits)) for name, qubits in gates}:
        superop = error(name, size)
        if superop is not None:
            found[name, size] = superop
    errors = {(name, qubits): found[name, len(qubits)] for name, qubits in gates if (name, len(qubits)) in found}
    return CircuitNoise(
        compiled.circuit.num_qubits, errors=errors, names=frozenset([f"every gate but {', '.join(virtual)}"])
    )


def scaled_probability(key: str, probability: float | None, scale: float) -> float | None:
    """p → λp.

    Raises:
        ValueError: λp is above 1.
    """
    if probability is None:
        return None
    if probability * scale > 1:
        raise ValueError(
            f"scale {scale:g} drives {key} from {probability:g} to {probability * scale:g}, which is no probability; "
            f"the largest scale here is {1 / probability:g}"
        )
    return probability * scale
