"""Where the encoder's states live once it is compiled: which wires, and as what linear function of the features."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.noisy import NoisyCircuit, NotEffectiveError
from qdeq_qiskit.backends.surrogate.errors import SurrogateError
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.noise import CircuitNoise


@final
@dataclass(frozen=True, eq=False)
class EncoderWires:
    """The ideal encoder's state V v / ‖v‖ before the weight block; all other wires are in |0⟩ there.

    Routing may leave the circuit's qubits on other wires than it found them on.

    Attributes:
        wires: those that the state is on, m of the compiled circuit's, in ascending order.
        isometry: V, (2ᵐ, d), the first of `wires` most significant.
    """

    wires: tuple[int, ...]
    isometry: NDArray[np.complex128] = field(repr=False)

    @classmethod
    def of(cls, qnn: QNNCircuit, compiled: CompiledCircuit) -> Self:
        """The encoder of a compiled circuit.

        Raises:
            SurrogateError: the state is no linear function of the features.
        """
        if qnn.num_amplitudes is None:
            raise SurrogateError(
                "the surrogate needs an amplitude encoder, whose outputs are quadratic forms of the features; behind "
                "an angle encoder they are not: take --method circuits"
            )
        try:
            circuit = NoisyCircuit(qnn, compiled, CircuitNoise(compiled.num_qubits), encoder_noise=False)
        except NotEffectiveError as error:
            raise SurrogateError(f"the surrogate cannot be measured: {error}") from error
        isometry = circuit.ideal_isometry()
        if isometry is None:
            raise SurrogateError("the compiled encoder's state is no linear function of the features")
        return cls(*_on_its_wires(isometry, compiled.num_qubits))


def _on_its_wires(isometry: NDArray[np.complex128], num_wires: int) -> tuple[tuple[int, ...], NDArray[np.complex128]]:
    """The wires that are not always in |0⟩, and V on them, its global phase such that it is real if it can be."""
    table = isometry.reshape(*(2,) * num_wires, -1)
    used = tuple(wire for wire in range(num_wires) if np.abs(np.take(table, 1, axis=wire)).max() > 1e-9)
    small = table[tuple(slice(None) if wire in used else 0 for wire in range(num_wires))].reshape(2 ** len(used), -1)
    largest = small.ravel()[np.abs(small).argmax()]
    return used, small * (abs(largest) / largest)
