"""The Jacobian of the noiseless model in place of a measured one, scaled to what is measured."""

from __future__ import annotations

import torch
from torch import Tensor

from ._map import FixedPointMap, MeasuredJacobian

_SPREAD = 0.25
"""How far from 1 the scale of an output is thought to be before anything was measured, one standard deviation."""


class NoiselessJacobian:
    """∂f_k/∂w ≈ λ_k ∂f⁰_k/∂w, with f⁰ the noiseless map and λ_k what noise leaves of output k.

    Gates that depolarise and readout that errs shrink an expectation value and its derivatives alike. So λ_k is the
    slope of a line through the origin, fitted to all values measured so far against f⁰ at the same states; with a
    normal prior about 1, which counts only while few shots were taken.

    Args:
        model: f⁰ for the whole batch, exact.
        outputs: n.
        error: the relative error that the scaled Jacobian is taken to have.
    """

    def __init__(self, model: FixedPointMap, outputs: int, *, error: float) -> None:
        self._model = model.frozen()
        self._error = error
        self._squares = torch.full((outputs,), _SPREAD**-2, dtype=torch.double)
        self._products = self._squares.clone()

    @property
    def scale(self) -> Tensor:
        """λ, (n,), double precision."""
        return self._products / self._squares

    def learn(self, rows: Tensor, w: Tensor, value: Tensor, covariance: Tensor) -> None:
        """Takes account of f(w), (M, n), as measured for the samples `rows` with that covariance, (M, n, n)."""
        predicted = self._model.select(rows.cpu()).value(w.double().cpu())
        value, variance = value.double().cpu(), covariance.diagonal(dim1=1, dim2=2).double().cpu()
        finite = (predicted + value + variance).isfinite().all(1)
        if not bool(finite.any()):
            return
        predicted, value = predicted[finite], value[finite]
        # Of all samples: a few shots whose outcomes are all equal show no variance.
        variance = variance[finite].mean(0).clamp(min=1e-12)
        self._squares += predicted.square().sum(0) / variance
        self._products += (predicted * value).sum(0) / variance

    def at(self, rows: Tensor, w: Tensor) -> MeasuredJacobian:
        """λ_k ∂f⁰_k/∂w for the samples `rows`, (M, n, n), with the error that it is taken to have."""
        count, n = w.shape
        jacobian = self._model.select(rows.cpu()).value_and_jacobian(w.double().cpu())[1]
        jacobian = (self.scale.unsqueeze(1) * jacobian).to(w)
        error = self._error**2 + float((1 / self._squares).max())
        variance = error * jacobian.square().sum((1, 2)) / n**2  # of each entry
        identity = torch.eye(n, dtype=w.dtype, device=w.device)
        return MeasuredJacobian(
            jacobian,
            identity.expand(count, n, n),
            (variance[:, None, None] * identity).unsqueeze(1).expand(-1, n, n, n),
        )
