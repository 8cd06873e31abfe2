"""What every ansatz recipe is and builds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict
from qiskit import QuantumCircuit


@dataclass(frozen=True)
class Ansatz:
    """A circuit of trainable gates.

    Attributes:
        circuit: its parameters are the weights, in the order of `circuit.parameters`.
        weight_groups: named parts of the weights, each the indices of its weights; None for one part, "ansatz".
    """

    circuit: QuantumCircuit
    weight_groups: Mapping[str, tuple[int, ...]] | None = None


class AnsatzRecipe(BaseModel, ABC):
    """Options of one kind of ansatz. A subclass adds `kind: Literal["name"] = "name"` and its own options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @abstractmethod
    def build(self, num_qubits: int) -> Ansatz:
        """The ansatz on `num_qubits` wires; ValueError if the options do not suit that number."""
