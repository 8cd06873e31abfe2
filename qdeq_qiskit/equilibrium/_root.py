"""What a solve hands back, whichever driver ran."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._reason import Reason

MOST_ITERATIONS = 8
"""A batch that takes longer has hard samples, for which the drivers that drop none should not evaluate the others."""


@dataclass(frozen=True, eq=False)
class Root:
    """What a solve found, per sample; B samples, n state entries.

    Attributes:
        w: the best finite iterate (or the average, for solvers that average), (B, n).
        residual: ‖f(w) − w‖₂, (B,); infinite where f was never finite.
        relative_residual: the same divided by ‖f(w)‖₂, (B,).
        iterations: steps taken, (B,).
        evaluations: evaluations of f, (B,).
        jacobian_evaluations: evaluations of ∂f/∂w, or of the matrix that steers in its place, (B,).
        converged: whether the relative residual is within the tolerance, (B,).
        reason: codes of `Reason`, (B,).
        unconverged: how many samples did not converge.
        jacobian: ∂f/∂w at w, (B, n, n), if it was asked for and the solver uses Jacobians; from the statistical solver
            NaN for samples without an estimate.
        trace: relative residuals (B,) at each evaluation, if asked for; a sample no longer evaluated keeps its last.
        inverse: (I − ∂f/∂w)⁻¹ as the solver estimates it on its way, (B, n, n), if it was asked for and the solver
            does.
        covariance: of w, (B, n, n), where the solver estimates it; NaN for samples without an estimate.
        shots: spent by each sample, (B,), where the solver chooses them; None if all are as the map's cost says.
        floored: whether a singular value of I − J was raised, (B,), where J was measured with its error.
    """

    w: Tensor
    residual: Tensor
    relative_residual: Tensor
    iterations: Tensor
    evaluations: Tensor
    jacobian_evaluations: Tensor
    converged: Tensor
    reason: Tensor
    unconverged: int
    jacobian: Tensor | None
    trace: list[Tensor] | None
    covariance: Tensor | None = None
    shots: Tensor | None = None
    floored: Tensor | None = None
    inverse: Tensor | None = None


def converged_root(
    w: Tensor,
    residual: Tensor,
    relative: Tensor,
    evaluations: Tensor,
    *,
    jacobian: Tensor | None,
    picard_steps: int,
    trace: list[Tensor] | None = None,
) -> Root:
    """What a solver with Jacobians found, in one attempt at which every sample converged.

    Args:
        w: (B, n).
        residual: (B,).
        relative: relative residuals, (B,).
        evaluations: of f, (B,).
        jacobian: ∂f/∂w at w, (B, n, n), if it is kept: of every sample, so each has paid for one.
        picard_steps: how many of the first evaluations were without a Jacobian.
        trace: see `Root`.
    """
    return Root(
        w=w,
        residual=residual,
        relative_residual=relative,
        iterations=evaluations - 1,
        evaluations=evaluations,
        jacobian_evaluations=(evaluations - picard_steps).clamp_(min=0 if jacobian is None else 1),
        converged=torch.ones_like(evaluations, dtype=torch.bool),
        reason=torch.full_like(evaluations, int(Reason.CONVERGED)),
        unconverged=0,
        jacobian=jacobian,
        trace=trace,
    )


def checked_value(value: Tensor, w: Tensor) -> Tensor:
    """f(w), (B, n), which must be of the shape of w: a layer with one output would else be broadcast to n of them.

    Raises:
        ValueError: it is not.
    """
    if value.shape != w.shape:
        raise ValueError(
            f"The layer gives outputs of shape {tuple(value.shape)} for a state of shape {tuple(w.shape)}: it needs as "
            "many outputs (observables) as the state has entries (columns of the lift R)."
        )
    return value


def residuals(value: Tensor, difference: Tensor) -> tuple[Tensor, Tensor]:
    """‖f(w) − w‖₂ and the same divided by ‖f(w)‖₂, (B,) each, of f(w) and f(w) − w, (B, n)."""
    # The norm of rows that are strided, as the transpose of a map's own layout is, takes ten times as long.
    residual = torch.linalg.vector_norm(difference.contiguous(), dim=1)
    size = torch.linalg.vector_norm(value.contiguous(), dim=1)
    # What is added keeps f(w) = 0 from dividing something by 0.
    return residual, residual / (size + torch.finfo(value.dtype).tiny ** 0.5)
