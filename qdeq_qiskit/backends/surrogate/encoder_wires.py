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
        qubits: the circuit's qubit that each of them carries.
        isometry: V, (2ᵐ, d), the first of `wires` most significant.
    """

    wires: tuple[int, ...]
    qubits: tuple[int, ...]
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
        wires, small = _on_its_wires(isometry, compiled.num_qubits)
        return cls(wires, _qubits(small, qnn.num_qubits), small)


def _on_its_wires(isometry: NDArray[np.complex128], num_wires: int) -> tuple[tuple[int, ...], NDArray[np.complex128]]:
    """The wires that are not always in |0⟩, and V on them, its global phase such that it is real if it can be."""
    table = isometry.reshape(*(2,) * num_wires, -1)
    used = tuple(wire for wire in range(num_wires) if np.abs(np.take(table, 1, axis=wire)).max() > 1e-9)
    small = table[tuple(slice(None) if wire in used else 0 for wire in range(num_wires))].reshape(2 ** len(used), -1)
    largest = small.ravel()[np.abs(small).argmax()]
    return used, small * (abs(largest) / largest)


def _qubits(isometry: NDArray[np.complex128], num_qubits: int) -> tuple[int, ...]:
    """The qubit whose bit of a feature's index is each wire's bit; any m, where V is more than an order of wires."""
    m = len(isometry).bit_length() - 1
    found = {}
    for bit in range(m):
        if 2**bit < isometry.shape[1]:
            column = np.abs(isometry[:, 2**bit])
            place = m - int(column.argmax()).bit_length()
            if np.isclose(column.max(), 1) and int(column.argmax()).bit_count() == 1:
                found[place] = num_qubits - 1 - bit
    if sorted(found) != [*range(m)]:
        return tuple(range(m))
    return tuple(found[place] for place in range(m))
