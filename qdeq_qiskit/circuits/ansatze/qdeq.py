"""The ansatz of the paper's model: the random layer, then the block."""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import Field
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from ._ansatz import Ansatz, AnsatzRecipe
from .paper_block import paper_block
from .random_layer import random_layer


def qdeq_ansatz(num_qubits: int, *, num_gates: int = 50, seed: int = 1111, blocks: int | None = None) -> QuantumCircuit:
    """`random_layer` followed by `paper_block`: 35 + 4 weights at n = 4, 40 + 16 at n = 10.

    Args:
        num_qubits: n, the number of wires, at least 4.
        num_gates: gates of the random layer.
        seed: seed of the random layer's draws.
        blocks: blocks; n/2 - 1 if None.

    Returns:
        n qubits, parameters θ[0], θ[1], ...: the random layer's rotations as drawn, then the block's.

    Raises:
        ValueError: as `random_layer` and `paper_block` do.
    """
    parts = random_layer(num_qubits, num_gates, seed), paper_block(num_qubits, blocks)
    theta = ParameterVector("θ", sum(part.num_parameters for part in parts))
    circuit = QuantumCircuit(num_qubits, name="qdeq ansatz")
    start = 0
    for part in parts:
        stop = start + part.num_parameters
        circuit.compose(part.assign_parameters(theta[start:stop]), inplace=True)
        start = stop
    return circuit


@final
class QDEQAnsatzRecipe(AnsatzRecipe):
    """The paper's ansatz: its random layer, then its block."""

    kind: Literal["qdeq"] = "qdeq"
    num_gates: Annotated[int, Field(ge=1, le=10_000)] = Field(default=50, description="Gates of the random layer.")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=1111, description="Seed of the random layer's draws.")
    blocks: Annotated[int, Field(ge=1, le=128)] | None = Field(
        default=None, description="Number of blocks; as many as fit, num_qubits/2 - 1, if absent."
    )

    def build(self, num_qubits: int) -> Ansatz:
        circuit = qdeq_ansatz(num_qubits, num_gates=self.num_gates, seed=self.seed, blocks=self.blocks)
        drawn = random_layer(num_qubits, self.num_gates, self.seed).num_parameters
        groups = {"random_layer": tuple(range(drawn)), "block": tuple(range(drawn, circuit.num_parameters))}
        return Ansatz(circuit, weight_groups=groups)
