r"""Channels as superoperators: Qiskit's column-stacking convention, \(\mathrm{vec}(E(ρ)) = S\, \mathrm{vec}(ρ)\).

All matrices are (4ⁿ, 4ⁿ) for n qubits, and the first qubit is the least significant one, as in Qiskit.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, reduce
from itertools import product

import numpy as np

LARGEST_REPETITION = 1e6
PAULIS = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1.0 + 0j, -1.0]),
}


def from_kraus(operators: Sequence[np.ndarray]) -> np.ndarray:
    r"""\(\sum_k \bar K_k ⊗ K_k\)."""
    return sum((np.kron(operator.conj(), operator) for operator in operators), np.zeros(1))


def depolarizing(probability: float, num_qubits: int) -> np.ndarray:
    r"""\(ρ ↦ (1 - p) ρ + p\, \mathrm{Tr}[ρ]\, 1 / 2^n\), Aer's convention."""
    dim = 2**num_qubits
    identity = np.eye(dim).ravel()
    return (1 - probability) * np.eye(dim * dim) + probability * np.outer(identity, identity) / dim


def amplitude_damping(gamma: float) -> np.ndarray:
    """One qubit's decay from |1⟩ to |0⟩ with probability γ (Nielsen and Chuang, 8.3.5)."""
    return from_kraus([np.diag([1, np.sqrt(1 - gamma)]), np.array([[0, np.sqrt(gamma)], [0, 0]])])


def phase_damping(gamma: float) -> np.ndarray:
    """One qubit's coherences times √(1 − γ) (Nielsen and Chuang, 8.3.6)."""
    keep = np.sqrt(1 - gamma)
    return np.diag([1.0, keep, keep, 1.0])


def relaxation(t1: float, t2: float, duration: float) -> np.ndarray:
    """One qubit's decay during `duration`: populations with exp(−t/T1), coherences with exp(−t/T2); T2 ≤ 2·T1."""
    stays, coherent = np.exp(-duration / t1), np.exp(-duration / t2)
    superop = np.diag([1.0, coherent, coherent, stays])
    superop[0, 3] = 1 - stays
    return superop


def rotation(generator: np.ndarray, angle: float) -> np.ndarray:
    r"""\(ρ ↦ U ρ U^†\) with \(U = \exp(-i φ H / 2)\), for H with eigenvalues −1, 0 and 1."""
    square = generator @ generator
    unitary = np.eye(len(generator)) - square + np.cos(angle / 2) * square - 1j * np.sin(angle / 2) * generator
    return from_kraus([unitary])


def on_each(superop: np.ndarray, num_qubits: int) -> np.ndarray:
    """A channel of one qubit on every one of `num_qubits`."""
    return tensor([superop] * num_qubits)


def tensor(superops: Sequence[np.ndarray]) -> np.ndarray:
    """Channels of one qubit each, side by side; the first one acts on the first qubit."""
    num_qubits = len(superops)
    joint = reduce(np.kron, reversed([superop.reshape(2, 2, 2, 2) for superop in superops]))
    return joint.reshape(4**num_qubits, 4**num_qubits)


def repeated(superop: np.ndarray, factor: float) -> np.ndarray:
    """The channel λ = k + f times: k times, then once more with probability f; λ as `check_repetitions` has it."""
    check_repetitions(factor)
    times = int(np.floor(factor))
    once_more = (1 - (factor - times)) * np.eye(len(superop)) + (factor - times) * superop
    return once_more @ np.linalg.matrix_power(superop, times)


def check_repetitions(factor: float) -> None:
    """Whether a channel can be applied λ times without rounding making something else of it.

    Raises:
        ValueError: λ is above `LARGEST_REPETITION`.
    """
    if factor > LARGEST_REPETITION:
        raise ValueError(
            f"scale is {factor:g}, but errors that are given as they are, are repeated so often; the largest scale "
            f"here is {LARGEST_REPETITION:,.0f}"
        )


def pauli_labels(num_qubits: int) -> list[str]:
    """All Pauli strings, in Qiskit's order of letters: the last letter is the first qubit's."""
    return ["".join(letters) for letters in product("IXYZ", repeat=num_qubits)]


def transfer_diagonal(superop: np.ndarray) -> np.ndarray:
    r"""\(\mathrm{Tr}[P_i E(P_i)] / 2^n\) for each Pauli string, (4ⁿ,)."""
    basis = _pauli_columns(superop.shape[0])
    return np.einsum("ai,ab,bi->i", basis.conj(), superop, basis).real


def pauli_twirl(superop: np.ndarray) -> np.ndarray:
    """The channel averaged over conjugation with every Pauli string: its Pauli transfer matrix without off-diagonal."""
    basis = _pauli_columns(superop.shape[0])
    return (basis * transfer_diagonal(superop)) @ basis.conj().T


def pauli_probabilities(superop: np.ndarray, *, atol: float = 1e-13) -> dict[str, float] | None:
    """The probability of each Pauli string, if the channel is a mixture of them, else None."""
    if np.abs(superop - pauli_twirl(superop)).max() > atol:
        return None
    num_qubits = (len(superop).bit_length() - 1) // 2
    signs = reduce(np.kron, [_COMMUTATION] * num_qubits)
    probabilities = np.clip(signs @ transfer_diagonal(superop) / 4**num_qubits, 0, None)
    return dict(zip(pauli_labels(num_qubits), map(float, probabilities / probabilities.sum()), strict=True))


def kraus_operators(superop: np.ndarray) -> list[np.ndarray]:
    """Kraus operators, from the eigenvectors of the Choi matrix.

    Qiskit's conversion drops operators of weight below 1e-8, which is where the error of two qubits at once lies.
    """
    dim = round(np.sqrt(len(superop)))
    choi = superop.reshape(dim, dim, dim, dim).transpose(3, 1, 2, 0).reshape(dim * dim, dim * dim)
    values, vectors = np.linalg.eigh((choi + choi.conj().T) / 2)
    kept = values > 1e-16
    operators = [
        np.sqrt(value) * vector.reshape(dim, dim).T for value, vector in zip(values[kept], vectors.T[kept], strict=True)
    ]
    return operators[::-1]


_COMMUTATION = np.array([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])


@cache
def _pauli_columns(size: int) -> np.ndarray:
    """vec(P)/√2ⁿ of every Pauli string, as columns, (4ⁿ, 4ⁿ)."""
    num_qubits = (size.bit_length() - 1) // 2
    columns = []
    for label in pauli_labels(num_qubits):
        matrix = reduce(np.kron, [PAULIS[letter] for letter in label])
        columns.append(matrix.T.ravel() / np.sqrt(2**num_qubits))
    return np.array(columns).T
