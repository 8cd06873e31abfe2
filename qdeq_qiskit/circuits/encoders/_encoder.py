"""What every encoder recipe is and builds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from qiskit import QuantumCircuit


@dataclass(frozen=True)
class Encoder:
    """A circuit that carries a sample's features into a quantum state.

    Attributes:
        circuit: its parameters are the inputs, in the order of `circuit.parameters`.
        num_amplitudes: d, if the parameters are the gate angles that `amplitude_angles` computes from d features;
            None if the parameters are the features themselves.
    """

    circuit: QuantumCircuit
    num_amplitudes: int | None = None


class EncoderRecipe(BaseModel, ABC):
    """Options of one kind of encoder. A subclass adds `kind: Literal["name"] = "name"` and its own options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @abstractmethod
    def build(self, num_qubits: int) -> Encoder:
        """The encoder on `num_qubits` wires; ValueError if the options do not suit that number."""
