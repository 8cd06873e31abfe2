"""The random layer of the paper: a fixed random sequence of rotations and CNOTs, every rotation trainable."""

from __future__ import annotations

from typing import Annotated, Literal, final

import numpy as np
from pydantic import Field
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from ._ansatz import Ansatz, AnsatzRecipe


def random_layer(num_qubits: int, num_gates: int = 50, seed: int = 1111) -> QuantumCircuit:
    """RX, RY, RZ and CNOT drawn with equal odds, on wires drawn at random.

    The draws are those of TorchQuantum's random layer in the paper's code: from NumPy's legacy generator
    `RandomState(seed)`, for each gate its kind, `choice(4, p=[.25] * 4)` over (RX, RY, RZ, CNOT), then its
    wires, `choice(n, size=1 or 2, replace=False)` (CNOT: control, target).

    Args:
        num_qubits: n, the number of wires, at least 2.
        num_gates: gates to draw.
        seed: seed of the draws. They are part of what the circuit is, not of a training run.

    Returns:
        n qubits, parameters θ[0], θ[1], ... in the order of the rotations as drawn.

    Raises:
        ValueError: if there are fewer than 2 qubits or 1 gate.
    """
    if num_qubits < 2:
        raise ValueError(f"random_layer: num_qubits must be at least 2 (it draws CNOTs), not {num_qubits}")
    if num_gates < 1:
        raise ValueError(f"random_layer: num_gates must be at least 1, not {num_gates}")
    draws = _draw(num_qubits, num_gates, seed)
    theta = iter(ParameterVector("θ", sum(name != "cx" for name, _ in draws)))
    circuit = QuantumCircuit(num_qubits, name="random layer")
    for name, wires in draws:
        if name == "cx":
            circuit.cx(*wires)
        else:
            getattr(circuit, name)(next(theta), *wires)
    return circuit


def _draw(num_qubits: int, num_gates: int, seed: int) -> list[tuple[str, list[int]]]:
    random = np.random.RandomState(seed)
    draws = []
    for _ in range(num_gates):
        name = ("rx", "ry", "rz", "cx")[random.choice(4, p=[0.25] * 4)]
        wires = random.choice(num_qubits, size=2 if name == "cx" else 1, replace=False)
        draws.append((name, wires.tolist()))
    return draws


@final
class RandomLayerRecipe(AnsatzRecipe):
    """The paper's random layer alone."""

    kind: Literal["random_layer"] = "random_layer"
    num_gates: Annotated[int, Field(ge=1, le=10_000)] = Field(default=50, description="Gates to draw.")
    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(default=1111, description="Seed of the draws.")

    def build(self, num_qubits: int) -> Ansatz:
        return Ansatz(random_layer(num_qubits, self.num_gates, self.seed))
