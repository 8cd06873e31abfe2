"""A QNN circuit written down: qubits, encoder, ansatz, readout."""

from __future__ import annotations

from typing import Annotated, Self, final

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ._limits import MAX_QUBITS
from .ansatze import AnyAnsatzRecipe
from .encoders import AnyEncoderRecipe
from .qnn_circuit import QNNCircuit
from .readouts import AnyReadoutRecipe
from .readouts.z import ZReadoutRecipe


@final
class CircuitRecipe(BaseModel):
    """A circuit recipe: what a YAML file in the folder `circuits/` holds.

    `encoder`, `ansatz` and `readout` each have a `kind`, which decides what other keys they take. That the parts fit
    on the number of qubits is checked here, not when the circuit is built.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str = Field(default="", description="One line about the circuit, shown in listings.")
    num_qubits: Annotated[int, Field(ge=1, le=MAX_QUBITS)] = Field(description="The number of wires.")
    encoder: AnyEncoderRecipe = Field(description="How features enter the circuit.")
    ansatz: AnyAnsatzRecipe = Field(description="The trainable gates.")
    readout: AnyReadoutRecipe = Field(default=ZReadoutRecipe(), description="The observables.")

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        for key, part in (("encoder", self.encoder), ("ansatz", self.ansatz), ("readout", self.readout)):
            try:
                part.build(self.num_qubits)
            except ValueError as error:
                raise ValueError(f"{key}: {error}") from error
        return self

    def build(self) -> QNNCircuit:
        """The circuit; every call gives new, equal parameters."""
        encoder, ansatz = self.encoder.build(self.num_qubits), self.ansatz.build(self.num_qubits)
        return QNNCircuit.compose(
            encoder.circuit,
            ansatz.circuit,
            self.readout.build(self.num_qubits),
            num_amplitudes=encoder.num_amplitudes,
            weight_groups=ansatz.weight_groups,
        )
