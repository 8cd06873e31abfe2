"""Any observables, written as Pauli labels."""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import Field
from qiskit.quantum_info import SparsePauliOp

from ._readout import ReadoutRecipe

PauliLabel = Annotated[str, Field(pattern="^[IXYZ]+$")]
Coefficient = Annotated[float, Field(allow_inf_nan=False)]


@final
class PauliReadoutRecipe(ReadoutRecipe):
    """Observables as Pauli labels in Qiskit's notation: the rightmost letter acts on wire 0."""

    kind: Literal["paulis"] = "paulis"
    observables: Annotated[tuple[PauliLabel | dict[PauliLabel, Coefficient], ...], Field(min_length=1)] = Field(
        description="Each a label such as ZZII (rightmost letter: wire 0), or a sum {ZZII: 0.5, XIII: -1}."
    )

    def build(self, num_qubits: int) -> tuple[SparsePauliOp, ...]:
        return tuple(
            _observable({item: 1.0} if isinstance(item, str) else item, num_qubits, f"observables[{k}]")
            for k, item in enumerate(self.observables)
        )


def _observable(terms: dict[str, float], num_qubits: int, where: str) -> SparsePauliOp:
    if not terms:
        raise ValueError(f"{where} has no terms; write a label such as {'Z' * num_qubits!r}, or {{label: coefficient}}")
    for label in terms:
        if len(label) != num_qubits:
            raise ValueError(f"{where}: {label!r} has {len(label)} letters, the circuit has {num_qubits} qubits")
    return SparsePauliOp.from_list(list(terms.items()))
