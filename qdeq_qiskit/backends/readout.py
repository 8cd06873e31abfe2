r"""Observables in the Heisenberg picture: :math:`M_k(θ) = W(θ)^† O_k W(θ)` from the columns of W."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp
from torch import Tensor

from qdeq_qiskit.backends.grams import SignedGrams
from qdeq_qiskit.backends.program import Operation
from qdeq_qiskit.backends.trailing import diagonals_behind


def is_diagonal(observables: Sequence[SparsePauliOp]) -> bool:
    """Whether all observables are diagonal in the computational basis."""
    return all(not np.any(observable.paulis.x) for observable in observables)


class Readout:
    """K observables on n wires, as torch sees them; they act in the precision and on the device of what is given.

    Args:
        observables: Hermitian, on n qubits (Qiskit qubit w is wire w).
        behind: gates between the states and the observables, for diagonal ones: see `split_trailing`.
    """

    def __init__(self, observables: Sequence[SparsePauliOp], *, behind: Sequence[Operation] = ()) -> None:
        simplified = [observable.simplify() for observable in observables]
        self.num_outputs = len(simplified)
        self.num_bases = len(sum(simplified[1:], start=simplified[0]).group_commuting(qubit_wise=True))
        self._diagonal = is_diagonal(simplified)
        if self._diagonal:
            diagonals = diagonals_behind(np.stack([_diagonal(observable) for observable in simplified]), behind)
            self._signs = SignedGrams(torch.as_tensor(diagonals))
        else:
            assert not behind
            self._terms = [_terms(observable) for observable in simplified]
        self._in_precision: dict[tuple[torch.device, torch.dtype], SignedGrams] = {}
        self._terms_in_precision: dict[tuple[torch.device, torch.dtype], list[list[tuple[Tensor, Tensor]]]] = {}

    @property
    def operator_products(self) -> int:
        """So many products of all rows of the columns with themselves, real and imaginary, `real_operators` takes."""
        return self._signs.num_products if self._diagonal else 2 * self.num_outputs

    def real_operators(self, columns: Tensor) -> Tensor:
        """Re M_k restricted to the d basis states that inputs reach, (K, d, d): all that real amplitudes see."""
        if self._diagonal:
            return self._grams(columns).operators(columns)
        return self.hermitian_operators(columns).real

    def hermitian_operators(self, columns: Tensor) -> Tensor:
        """M_k, complex, (K, d, d), from the columns, (2ⁿ, d)."""
        return torch.matmul(columns.mH, self.applied(columns))

    def applied(self, columns: Tensor) -> Tensor:
        """O_k applied to columns, (K, 2ⁿ, d), complex."""
        if self._diagonal:
            return self._grams(columns).diagonals.unsqueeze(-1) * columns
        return torch.stack([_apply(terms, columns) for terms in self._terms_like(columns)])

    def expectations(self, states: Tensor) -> Tensor:
        """⟨O_k⟩ of a batch of states, (B, 2ⁿ) → (B, K), real."""
        if self._diagonal:
            # Squares of real and imaginary parts: |·| has no second derivative at zero.
            return torch.view_as_real(states).square().sum(-1) @ self._grams(states).diagonals.T
        return torch.einsum("ib,kib->bk", states.T.conj(), self.applied(states.T)).real

    def _grams(self, like: Tensor) -> SignedGrams:
        """The diagonals in the real precision and on the device of a complex tensor."""
        key = (like.device, like.dtype)
        if key not in self._in_precision:
            with torch.inference_mode(False):  # what is kept must serve outside of inference mode too
                self._in_precision[key] = self._signs.to(like.device, like.real.dtype)
        return self._in_precision[key]

    def _terms_like(self, like: Tensor) -> list[list[tuple[Tensor, Tensor]]]:
        """Sources and factors, (2ⁿ,) and (2ⁿ, 1), of each observable's terms, in the dtype and on the device of one."""
        key = (like.device, like.dtype)
        if key not in self._terms_in_precision:
            with torch.inference_mode(False):
                self._terms_in_precision[key] = [
                    [
                        (
                            torch.as_tensor(source, device=like.device),
                            torch.as_tensor(factor, dtype=like.dtype, device=like.device).unsqueeze(1),
                        )
                        for source, factor in terms
                    ]
                    for terms in self._terms
                ]
        return self._terms_in_precision[key]


def _apply(terms: list[tuple[Tensor, Tensor]], columns: Tensor) -> Tensor:
    result = torch.zeros_like(columns)
    for source, factor in terms:
        result = result + factor * columns.index_select(0, source)
    return result


def _basis_bits(num_qubits: int) -> np.ndarray:
    """Bit of every wire in every basis state, (2ⁿ, n), wire 0 the most significant."""
    return (np.arange(2**num_qubits)[:, None] >> np.arange(num_qubits)[::-1]) & 1


def _diagonal(observable: SparsePauliOp) -> np.ndarray:
    bits = _basis_bits(observable.num_qubits)
    signs = 1.0 - 2.0 * (bits @ observable.paulis.z.T.astype(int) % 2)
    return signs @ observable.coeffs.real


def _terms(observable: SparsePauliOp) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each Pauli string P with coefficient c: c P|ψ⟩ has entry factor[i] ψ[source[i]]."""
    bits = _basis_bits(observable.num_qubits)
    place = 2 ** np.arange(observable.num_qubits)[::-1]
    result = []
    for pauli, coefficient in zip(observable.paulis, observable.coeffs, strict=True):
        flip = pauli.x.astype(int)
        source = (bits ^ flip) @ place
        # Row i of P: Z and Y put (−1) on source bits that are 1, and each Y a further factor i.
        sign = 1.0 - 2.0 * (((bits ^ flip) @ pauli.z.astype(int)) % 2)
        result.append((source, coefficient * sign * 1j ** int(np.sum(pauli.x & pauli.z))))
    return result
