r"""From values of preparations to operators: a dual frame, its variance, and what it leaves uncorrected.

A preparation p has a state ρ_p with Pauli coordinates Φ[p, P] = Tr(P ρ_p), and a value y_pk = Tr(M_k ρ_p). Where c(v)
solves :math:`\sum_p c_p(v)\, ρ_p = ρ_v`, with ρ_v that of the ideal encoder,

.. math:: f_k(v) = \sum_p c_p(v)\, y_{pk} , \qquad c_p(v) = v^T G_p v / v^T v ,

and of all solutions the one with the least Σ c² is taken, the pseudo-inverse of Φᵀ: G_p = Re V† D_p V with the dual
operators D_p (d'Ariano, Perinotti, quant-ph/0701214). Values are independent, each with a variance below 1/S, so
Σ c_p(v)² bounds the variance of f(v) by that many times the largest one of a direct evaluation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qdeq_qiskit.backends.noisy.pauli_transfer import Matrix, pauli_strings
from qdeq_qiskit.backends.noisy.prepared_map import IdealEncoder
from qdeq_qiskit.backends.surrogate.errors import SurrogateError

# Relative to the largest singular value: designs that determine what is wanted stay above 1e-2 on a few wires.
_SINGULAR = 1e-6


@final
@dataclass(frozen=True, eq=False)
class DualFrame:
    """The duals of P preparations for d features.

    Attributes:
        matrices: G, (P, d, d), symmetric.
        states: Φ, that of the states that the frame takes the processor to prepare, (P, 4ᵐ).
        isometry: V, (2ᵐ, d).
        covers_everything: whether ρ_p span all operators, so that nothing is left uncorrected; or the real ones only.
    """

    matrices: Tensor
    states: Matrix = field(repr=False)
    isometry: NDArray[np.complex128] = field(repr=False)
    covers_everything: bool

    @classmethod
    def of(cls, states: Matrix, isometry: NDArray[np.complex128]) -> Self:
        """The dual frame of some states.

        Args:
            states: Φ, (P, 4ᵐ).
            isometry: V, (2ᵐ, d).

        Raises:
            SurrogateError: the states do not determine Re V† M V.
        """
        factors = _factors(states)
        if factors is not None:
            functionals = _joined([np.asarray(np.linalg.inv(factor).T, dtype=np.float64) for factor in factors])
            return cls(_on_features(functionals, isometry), states, isometry, True)
        everything = len(states) >= states.shape[1] and np.linalg.cond(states) < 1 / _SINGULAR
        # A real ρ_v has no string with an odd number of Y.
        seen = np.ones(states.shape[1], dtype=bool) if everything else _even_strings(states.shape[1])
        if not everything and np.abs(isometry.imag).max() > 1e-9:
            raise SurrogateError(
                "the compiled encoder's state is complex, and these preparations determine real ones only; take the "
                "tetrahedral design"
            )
        if not everything and np.linalg.matrix_rank(states[:, seen], tol=_SINGULAR * len(states)) < seen.sum():
            raise SurrogateError(
                f"{len(states)} preparations do not determine the operators on {_wires(states)} wires; noise leaves "
                "too little of them"
            )
        functionals = np.zeros_like(states)
        functionals[:, seen] = np.linalg.pinv(states[:, seen]).T
        return cls(_on_features(functionals, isometry), states, isometry, bool(everything))

    def coefficients(self, v: Tensor) -> Tensor:
        """c(v), (B, P), for features (B, d)."""
        return _products(v) @ self.matrices.flatten(1).T

    def variance(self, v: Tensor) -> Tensor:
        """Σ_p c_p(v)², (B,): the variance in units of 1/S, S shots a circuit, where values have none less than that."""
        return self.coefficients(v).square().sum(1)

    def worst_variance(self) -> float:
        """The largest of these, found by ascent from many starts."""
        return _largest(self.variance, self.matrices.shape[1], starts=64, steps=300)

    def trace_norm(self, states: Matrix, v: Tensor) -> Tensor:
        """‖Σ_p c_p(v) X_p − ρ_v‖₁, (B,), of states X in truth: no observable errs by more times its norm.

        Args:
            states: coordinates of the states in truth, (P, 4ᵐ).
            v: features, (B, d).
        """
        return _trace_norms(self._difference(states), v)

    def worst_trace_norm(self, states: Matrix) -> float:
        """The largest of these over all features, found by ascent from many starts."""
        difference = self._difference(states)
        return _largest(lambda v: _trace_norms(difference, v), self.matrices.shape[1], starts=8, steps=60)

    def _difference(self, states: Matrix) -> Tensor:
        """Σ_p c_p(v) X_p − ρ_v as a function of the products v_i v_j, (d², 2ᵐ, 2ᵐ)."""
        strings = torch.as_tensor(pauli_strings(_wires(self.states)))
        wanted = IdealEncoder(self.isometry).operators(torch.eye(len(strings), dtype=torch.float64))
        made = torch.tensordot(torch.as_tensor(states), self.matrices, dims=([0], [0]))
        coordinates = (made - wanted).flatten(1).T / strings.shape[1]
        return torch.tensordot(coordinates.to(strings.dtype), strings, dims=1)


def _factors(states: Matrix) -> list[Matrix] | None:
    """Φ of each wire, (4, 4), if Φ is their Kronecker product: a hundred times faster to invert, on six wires."""
    count, size = states.shape
    if count != size:
        return None
    # All other wires in their first state, and their part of the string the identity, whose expectation value is one.
    steps = [4**place for place in range(_wires(states))][::-1]
    factors = [states[: 4 * step : step, : 4 * step : step] for step in steps]
    if not np.allclose(_joined(factors), states, rtol=0, atol=1e-13):
        return None
    return factors if all(np.linalg.cond(factor) < 1 / _SINGULAR for factor in factors) else None


def _joined(factors: list[Matrix]) -> Matrix:
    """The Kronecker product, the first factor most significant."""
    product: Matrix = np.ones((1, 1))
    for factor in factors:
        product = np.asarray(np.kron(product, factor), dtype=np.float64)
    return product


def _on_features(functionals: Matrix, isometry: NDArray[np.complex128]) -> Tensor:
    """G = Re V† D V, (P, d, d), of the dual operators D by their coordinates."""
    matrices = IdealEncoder(isometry).operators(torch.as_tensor(functionals))
    return (matrices + matrices.mT) / 2


def _trace_norms(difference: Tensor, v: Tensor) -> Tensor:
    matrices = torch.tensordot(_products(v).to(difference.dtype), difference, dims=1)
    values: Tensor = torch.linalg.eigvalsh(matrices)
    return values.abs().sum(1)


def _products(v: Tensor) -> Tensor:
    """v_i v_j / vᵀv, (B, d²)."""
    v = v / v.norm(dim=1, keepdim=True)
    return (v.unsqueeze(2) * v.unsqueeze(1)).flatten(1)


def _largest(function: Callable[[Tensor], Tensor], size: int, *, starts: int, steps: int) -> float:
    """The maximum of a function of a unit vector, (B, d) → (B,), as far as ascent from random starts finds it."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(starts, size, generator=generator, dtype=torch.float64)
    best = 0.0
    for step in torch.logspace(math.log10(0.5), -3, steps).tolist():
        v = (v / v.norm(dim=1, keepdim=True)).detach().requires_grad_()
        values = function(v)
        best = max(best, float(values.detach().max()))
        (slope,) = torch.autograd.grad(values.sum(), v)
        v = v + step * slope / slope.norm(dim=1, keepdim=True).clamp(min=1e-300)
    return best


def _even_strings(size: int) -> NDArray[np.bool_]:
    """Which strings have an even number of Y, (4ᵐ,)."""
    digits = np.arange(size)[:, None] // 4 ** np.arange((size.bit_length() - 1) // 2) % 4
    return (digits == 2).sum(axis=1) % 2 == 0


def _wires(states: Matrix) -> int:
    return (states.shape[1].bit_length() - 1) // 2
