"""The noiseless circuit, brought into line with what is measured: a stand-in where circuits would be too dear."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ._map import FixedPointMap, MeasuredJacobian
from ._search import search
from .solvers.newton import Newton

_SPREAD = (0.25, 0.01)
"""How far from 1 the slope of an output, and from 0 its offset, are thought to be before anything was measured, one
standard deviation; an offset is what readout that errs more after 1 than after 0 adds to ⟨Z⟩."""

_JACOBIAN_OVER_VALUES = 2.0
"""The relative error of a Jacobian beside that of the values it goes with: 0.9 to 2.5 times as large on calibrated
snapshots and where gates over-rotate."""

_NEWTON = Newton(tolerance=1e-8)


class LineMap(FixedPointMap):
    """w ↦ λ ∘ f(w) + β, each output with a slope and an offset of its own.

    Args:
        base: f.
        slope: λ, (n,).
        offset: β, (n,).
    """

    def __init__(self, base: FixedPointMap, slope: Tensor, offset: Tensor) -> None:
        self._base, self._slope, self._offset = base, slope, offset

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._base.inputs

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> LineMap:
        return LineMap(self._base.with_inputs(inputs), self._slope, self._offset)

    def select(self, rows: Tensor) -> LineMap:
        return LineMap(self._base.select(rows), self._slope, self._offset)

    def value(self, w: Tensor) -> Tensor:
        return self._slope * self._base.value(w) + self._offset

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        value, jacobian = self._base.value_and_jacobian(w)
        return self._slope * value + self._offset, self._slope.unsqueeze(1) * jacobian


@dataclass(frozen=True, eq=False)
class ModelledJacobian:
    """A Jacobian from the model.

    Attributes:
        jacobian: (M, n, n).
        slope_variance: what the model did not know of its slopes when it gave this, relative, (n,).
    """

    jacobian: Tensor
    slope_variance: Tensor


class NoiselessModel:
    """f_k ≈ λ_k f⁰_k + β_k, with f⁰ the map of a machine without errors.

    Gates that depolarise and readout that errs shrink an expectation value and its derivatives alike, to λ_k of it;
    readout that favours one outcome, and relaxation, add β_k. Both are those of a line fitted to all values measured so
    far against f⁰ at the same states, with a normal prior about 1 and 0, which counts only while few shots were taken.

    Other noise, coherent errors above all, changes f⁰'s shape. Then the values lie off their lines by more than their
    shots allow, and the Jacobian is taken to be as wrong.

    Args:
        noiseless: f⁰ for the whole batch, exact, in double precision on the CPU.
        outputs: n.
        error: the relative error that the Jacobian of λ ∘ f⁰ is taken to have at least.
    """

    def __init__(self, noiseless: FixedPointMap, outputs: int, *, error: float) -> None:
        self._noiseless = noiseless.frozen()
        self._error = error
        self._prior = torch.tensor(_SPREAD, dtype=torch.double) ** -2
        # Weighted sums over values v and predictions p: of (p, 1)(p, 1)ᵀ, (p, 1) v and v², and their number.
        self._squares = torch.zeros(outputs, 2, 2, dtype=torch.double)
        self._products = torch.zeros(outputs, 2, dtype=torch.double)
        self._values = torch.zeros(outputs, dtype=torch.double)
        self._count = 0

    @property
    def scale(self) -> Tensor:
        """λ, (n,), double precision."""
        return self._line()[0][:, 0]

    @property
    def error(self) -> float:
        """The relative error of a Jacobian, as far as values have shown one."""
        return math.hypot(self._error, _JACOBIAN_OVER_VALUES * self._misfit())

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
        design = torch.stack((predicted, torch.ones_like(predicted)), dim=2)  # (M, n, 2)
        self._squares += torch.einsum("mki,mkj,k->kij", design, design, 1 / variance)
        self._products += torch.einsum("mki,mk,k->ki", design, value, 1 / variance)
        self._values += value.square().sum(0) / variance
        self._count += len(value)

    def root(self, rows: Tensor, start: Tensor) -> Tensor:
        """The fixed points of λ ∘ f⁰ + β for the samples `rows`, (M, n); the start where none is found."""
        root = search(self._fitted(rows), start.double().cpu(), _NEWTON)
        return torch.where(root.converged.unsqueeze(1).to(start.device), root.w.to(start), start)

    def jacobian(self, rows: Tensor, w: Tensor) -> ModelledJacobian:
        """λ_k ∂f⁰_k/∂w for the samples `rows`, at w, (M, n)."""
        jacobian = self._fitted(rows).value_and_jacobian(w.double().cpu())[1].to(w)
        line, covariance = self._line()
        return ModelledJacobian(jacobian, (covariance[:, 0, 0] / line[:, 0].square()).to(w))

    def with_error(self, modelled: ModelledJacobian) -> MeasuredJacobian:
        """A Jacobian with the error that it is taken to have, by all that was measured until now.

        Two parts are independent: the error of each λ_k, which is along row k, and one of every entry.
        """
        jacobian = modelled.jacobian
        count, n = jacobian.shape[:2]
        identity = torch.eye(n, dtype=jacobian.dtype, device=jacobian.device)
        of_slope = torch.diag_embed(torch.diag(modelled.slope_variance))  # (n, n, n)
        of_entry = self.error**2 * jacobian.square().sum((1, 2)) / n**2
        return MeasuredJacobian(
            jacobian,
            torch.cat((jacobian, identity.expand(count, n, n)), dim=1),
            torch.cat(
                (of_slope.expand(count, n, n, n), (of_entry[:, None, None, None] * identity).expand(-1, n, -1, -1)), 1
            ),
        )

    def bend(self, rows: Tensor, w: Tensor, step: Tensor, jacobian: Tensor) -> Tensor:
        """How far λ ∘ f⁰ is from its tangent at w, (M, n), after a step, (M, n); (M, n), double precision.

        Args:
            rows: the samples.
            w: where the step begins.
            step: double precision.
            jacobian: of λ ∘ f⁰ at w, (M, n, n).
        """
        fitted, before = self._fitted(rows), w.double().cpu()
        moved = fitted.value(before + step.cpu()) - fitted.value(before)
        straight = (jacobian.double() @ step.unsqueeze(2)).squeeze(2)
        return moved.to(step.device) - straight

    def _line(self) -> tuple[Tensor, Tensor]:
        """(λ, β) of each output, (n, 2), and their covariance, (n, 2, 2)."""
        covariance = torch.linalg.inv(self._squares + torch.diag(self._prior))
        products = self._products + self._prior * torch.tensor([1.0, 0.0], dtype=torch.double)
        return (covariance @ products.unsqueeze(2)).squeeze(2), covariance

    def _misfit(self) -> float:
        """By how much values lie off their lines, beyond what their shots explain, relative to the size of λ ∘ f⁰."""
        line, covariance = self._line()
        off = (
            self._values - 2 * (line * self._products).sum(1) + torch.einsum("ki,kij,kj->k", line, self._squares, line)
        )
        by_shots = self._count - torch.einsum("kij,kji->k", covariance, self._squares)
        # Sums over outputs, each brought from the units of its own shots to those of values.
        weight = self._squares[:, 1, 1].clamp(min=1e-12)
        excess = ((off - by_shots) / weight).sum()
        size = (line[:, 0].square() * self._squares[:, 0, 0] / weight).sum()
        return math.sqrt(max(float(excess), 0.0) / max(float(size), 1e-12))

    def _fitted(self, rows: Tensor) -> LineMap:
        line, _ = self._line()
        return LineMap(self._noiseless.select(rows.cpu()), line[:, 0], line[:, 1])
