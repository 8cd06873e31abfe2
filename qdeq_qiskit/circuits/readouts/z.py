"""Z on every wire: the paper's readout."""

from __future__ import annotations

from typing import Literal, final

from qiskit.quantum_info import SparsePauliOp

from ._readout import ReadoutRecipe


def z_readout(num_qubits: int) -> tuple[SparsePauliOp, ...]:
    """The observables Z₀, ..., Z_{n-1}: observable k is Z on wire k.

    Raises:
        ValueError: if there is no qubit.
    """
    if num_qubits < 1:
        raise ValueError(f"z_readout: num_qubits must be at least 1, not {num_qubits}")
    return tuple(SparsePauliOp.from_sparse_list([("Z", [k], 1.0)], num_qubits) for k in range(num_qubits))


@final
class ZReadoutRecipe(ReadoutRecipe):
    """Z on every wire, in order."""

    kind: Literal["z"] = "z"

    def build(self, num_qubits: int) -> tuple[SparsePauliOp, ...]:
        return z_readout(num_qubits)
