"""What every readout recipe is and builds."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pydantic import BaseModel, ConfigDict
from qiskit.quantum_info import SparsePauliOp


class ReadoutRecipe(BaseModel, ABC):
    """Options of one kind of readout. A subclass adds `kind: Literal["name"] = "name"` and its own options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @abstractmethod
    def build(self, num_qubits: int) -> tuple[SparsePauliOp, ...]:
        """The observables on `num_qubits` wires; ValueError if the options do not suit that number."""
