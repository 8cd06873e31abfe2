"""What is computed: encoders, ansätze and readouts, joined into one `QNNCircuit`. Qiskit only.

Wire order. Wire w is Qiskit's qubit w. An amplitude vector ψ of n wires is indexed with wire 0 as the *most*
significant bit: i = Σ_w b_w 2^(n-1-w), so that ψ reshaped to (2,) * n has axis w for wire w. Qiskit's own
`Statevector` counts the other way round (qubit 0 is its least significant bit): the two differ by a reversal of the
bits of the index. Pauli labels stay as Qiskit writes them: the rightmost letter acts on wire 0.
"""

from .ansatze import ANSATZE, Ansatz, AnsatzRecipe, paper_block, qdeq_ansatz, random_layer
from .encoders import (
    ENCODERS,
    Encoder,
    EncoderRecipe,
    alternating_gates,
    amplitude_angles,
    amplitude_encoder,
    amplitude_signs,
    angle_encoder,
    gray_walsh_matrix,
    paper10_gates,
    ryzxy_gates,
    tree_angles,
)
from .qnn_circuit import QNNCircuit
from .readouts import READOUTS, ReadoutRecipe, z_readout
from .recipe import CircuitRecipe
from .resources import CircuitResources

__all__ = [
    "ANSATZE",
    "ENCODERS",
    "READOUTS",
    "Ansatz",
    "AnsatzRecipe",
    "CircuitRecipe",
    "CircuitResources",
    "Encoder",
    "EncoderRecipe",
    "QNNCircuit",
    "ReadoutRecipe",
    "alternating_gates",
    "amplitude_angles",
    "amplitude_encoder",
    "amplitude_signs",
    "angle_encoder",
    "gray_walsh_matrix",
    "paper10_gates",
    "paper_block",
    "qdeq_ansatz",
    "random_layer",
    "ryzxy_gates",
    "tree_angles",
    "z_readout",
]
