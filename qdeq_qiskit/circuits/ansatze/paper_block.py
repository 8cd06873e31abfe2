"""The paper's trainable block: rotations and controlled rotations, then fixed entangling gates."""

from __future__ import annotations

from typing import Annotated, Literal, final

from pydantic import Field
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from ._ansatz import Ansatz, AnsatzRecipe


def paper_block(num_qubits: int, blocks: int | None = None) -> QuantumCircuit:
    """Blocks i = 0, 1, ...: first RX(2i), RY(2i+1), RZ(2i+3), CRX[2i → 2i+2] for each i, all of them trainable.

    Then H(2i+3), SX(2i+2), CNOT[2i+3 → 2i] for each i.

    Args:
        num_qubits: n, the number of wires, at least 4.
        blocks: n/2 - 1 (rounded down) if None, which is also the most that fit.

    Returns:
        n qubits, parameters θ[0], ..., θ[4 blocks - 1] in the order of the gates.

    Raises:
        ValueError: if the blocks do not fit on the wires.
    """
    most = num_qubits // 2 - 1
    if most < 1:
        raise ValueError(f"paper_block: num_qubits must be at least 4, not {num_qubits}")
    blocks = most if blocks is None else blocks
    if not 1 <= blocks <= most:
        raise ValueError(f"paper_block: {num_qubits} qubits have room for 1 to {most} blocks, not {blocks}")
    theta = iter(ParameterVector("θ", 4 * blocks))
    circuit = QuantumCircuit(num_qubits, name="block")
    for i in range(blocks):
        circuit.rx(next(theta), 2 * i)
        circuit.ry(next(theta), 2 * i + 1)
        circuit.rz(next(theta), 2 * i + 3)
        circuit.crx(next(theta), 2 * i, 2 * i + 2)
    for i in range(blocks):
        circuit.h(2 * i + 3)
        circuit.sx(2 * i + 2)
        circuit.cx(2 * i + 3, 2 * i)
    return circuit


@final
class PaperBlockRecipe(AnsatzRecipe):
    """The paper's block alone."""

    kind: Literal["paper_block"] = "paper_block"
    blocks: Annotated[int, Field(ge=1, le=128)] | None = Field(
        default=None, description="Number of blocks; as many as fit, num_qubits/2 - 1, if absent."
    )

    def build(self, num_qubits: int) -> Ansatz:
        return Ansatz(paper_block(num_qubits, self.blocks))
