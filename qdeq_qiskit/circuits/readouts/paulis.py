"""Any observables, written as Pauli labels."""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import BeforeValidator, Field
from qiskit.quantum_info import SparsePauliOp

from ._readout import ReadoutRecipe

Coefficient = Annotated[float, Field(allow_inf_nan=False)]


def _as_sum(item: object) -> object:
    return {item: 1.0} if isinstance(item, str) else item


@final
class PauliReadoutRecipe(ReadoutRecipe):
    """Observables as Pauli labels in Qiskit's notation: the rightmost letter acts on wire 0."""

    kind: Literal["paulis"] = "paulis"
    observables: tuple[Annotated[dict[str, Coefficient], BeforeValidator(_as_sum)], ...] = Field(
        description="Each a label such as ZZII (rightmost letter: wire 0), or a sum {ZZII: 0.5, XIII: -1}."
    )

    def build(self, num_qubits: int) -> tuple[SparsePauliOp, ...]:
        if not self.observables:
            raise ValueError("observables is empty; at least one is needed")
        return tuple(_observable(terms, num_qubits, f"observables[{k}]") for k, terms in enumerate(self.observables))


def _observable(terms: dict[str, float], num_qubits: int, where: str) -> SparsePauliOp:
    if not terms:
        raise ValueError(f"{where} has no terms; write a label such as {'Z' * num_qubits!r}, or {{label: coefficient}}")
    for label in terms:
        if not label or set(label) - set("IXYZ"):
            raise ValueError(f"{where}: {label!r} is not a Pauli label; it must be made of the letters I, X, Y, Z")
        if len(label) != num_qubits:
            raise ValueError(
                f"{where}: {label!r} has {len(label)} letters, the circuit has {num_qubits} qubits; expected a letter "
                "for each"
            )
    return SparsePauliOp.from_list(list(terms.items()))
