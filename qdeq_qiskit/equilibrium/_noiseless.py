"""The noiseless circuit, scaled to what is measured, as a stand-in where circuits on a machine would be too dear."""

from __future__ import annotations

import torch
from torch import Tensor

from ._map import FixedPointMap, MeasuredJacobian
from ._search import search
from .solvers.newton import Newton

_SPREAD = 0.25
"""How far from 1 the scale of an output is thought to be before anything was measured, one standard deviation."""

_NEWTON = Newton(tolerance=1e-8)


class ScaledMap(FixedPointMap):
    """w ↦ λ ∘ f(w), each output with a factor of its own.

    Args:
        base: f.
        scale: λ, (n,).
    """

    def __init__(self, base: FixedPointMap, scale: Tensor) -> None:
        self._base, self._scale = base, scale

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._base.inputs

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> ScaledMap:
        return ScaledMap(self._base.with_inputs(inputs), self._scale)

    def select(self, rows: Tensor) -> ScaledMap:
        return ScaledMap(self._base.select(rows), self._scale)

    def value(self, w: Tensor) -> Tensor:
        return self._scale * self._base.value(w)

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        value, jacobian = self._base.value_and_jacobian(w)
        return self._scale * value, self._scale.unsqueeze(1) * jacobian


class NoiselessModel:
    """f_k ≈ λ_k f⁰_k, with f⁰ the map of a machine without errors and λ_k what noise leaves of output k.

    Gates that depolarise and readout that errs shrink an expectation value and its derivatives alike. λ_k is the slope
    of a line through the origin, fitted to all values measured so far against f⁰ at the same states; with a normal
    prior about 1, which counts only while few shots were taken.

    Args:
        noiseless: f⁰ for the whole batch, exact, in double precision on the CPU.
        outputs: n.
        error: the relative error that the Jacobian of λ ∘ f⁰ is taken to have.
    """

    def __init__(self, noiseless: FixedPointMap, outputs: int, *, error: float) -> None:
        self._noiseless = noiseless.frozen()
        self._error = error
        self._squares = torch.full((outputs,), _SPREAD**-2, dtype=torch.double)
        self._products = self._squares.clone()

    @property
    def scale(self) -> Tensor:
        """λ, (n,), double precision."""
        return self._products / self._squares

    def learn(self, rows: Tensor, w: Tensor, value: Tensor, covariance: Tensor) -> None:
        """Takes account of f(w), (M, n), as measured for the samples `rows` with that covariance, (M, n, n)."""
        predicted = self._noiseless.select(rows.cpu()).value(w.double().cpu())
        value, variance = value.double().cpu(), covariance.diagonal(dim1=1, dim2=2).double().cpu()
        finite = (predicted + value + variance).isfinite().all(1)
        if not bool(finite.any()):
            return
        predicted, value = predicted[finite], value[finite]
        # Of all samples: a few shots whose outcomes are all equal show no variance.
        variance = variance[finite].mean(0).clamp(min=1e-12)
        self._squares += predicted.square().sum(0) / variance
        self._products += (predicted * value).sum(0) / variance

    def root(self, rows: Tensor, start: Tensor) -> Tensor:
        """The fixed points of λ ∘ f⁰ for the samples `rows`, (M, n); the start where none is found."""
        root = search(self._scaled(rows), start.double().cpu(), _NEWTON)
        return torch.where(root.converged.unsqueeze(1).to(start.device), root.w.to(start), start)

    def jacobian(self, rows: Tensor, w: Tensor) -> MeasuredJacobian:
        """λ_k ∂f⁰_k/∂w for the samples `rows`, (M, n, n), with the error that it is taken to have.

        Two parts are independent: the error of each λ_k, which is along row k, and one of every entry.
        """
        count, n = w.shape
        jacobian = self._scaled(rows).value_and_jacobian(w.double().cpu())[1].to(w)
        identity = torch.eye(n, dtype=w.dtype, device=w.device)
        of_scale = torch.diag_embed(torch.diag(1 / (self._squares * self.scale.square()))).to(w)  # (n, n, n)
        of_entry = self._error**2 * jacobian.square().sum((1, 2)) / n**2
        return MeasuredJacobian(
            jacobian,
            torch.cat((jacobian, identity.expand(count, n, n)), dim=1),
            torch.cat(
                (of_scale.expand(count, n, n, n), (of_entry[:, None, None, None] * identity).expand(-1, n, -1, -1)), 1
            ),
        )

    def _scaled(self, rows: Tensor) -> ScaledMap:
        return ScaledMap(self._noiseless.select(rows.cpu()), self.scale)
