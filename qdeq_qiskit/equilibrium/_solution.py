"""What a solved batch hands to the rest of the model, and to whoever wants to know how it went."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ._backward_report import BackwardReport
from ._map import MapCost
from ._options import check_number
from ._reason import Reason


@dataclass(frozen=True, eq=False)
class Solution:
    """The equilibria of a batch, how they were found, and at what price; B samples, n state entries, d features.

    Attributes:
        value: w*, (B, n), with its gradient. The best finite iterate where a sample did not converge.
        state: z* = R w*, (B, d), with its gradient; w* itself without a lift.
        residual: ‖f(w*) − w*‖₂, (B,); NaN in the other modes, where it is not measured.
        relative_residual: the same divided by ‖f(w*)‖₂, (B,).
        iterations: solver steps, or applications of the layer in the other modes, (B,).
        evaluations: evaluations of f, (B,), those for the penalty included.
        jacobian_evaluations: evaluations of ∂f/∂w, those for the adjoint and the penalty included, (B,).
        converged: whether the relative residual is within the solver's tolerance, or within the noise where the solver
            knows it, (B,); False in the other modes.
        reason: codes of `Reason`, (B,).
        trace: relative residuals (B,) at each evaluation, if `Equilibrium.trace` is set. A sample that is no longer
            evaluated keeps its last one.
        jacobian: ∂f/∂w at w*, (B, n, n), without a gradient, if it was computed; NaN for samples without one.
        penalty: the Jacobian penalty, a scalar with its gradient; None without a penalty, in the other modes, where
            grad mode is off, and where it could have no gradient, which is warned of.
        cost: circuits and shots of one sample's evaluation.
        solver: kind of the solver that ran, "none" in the other modes.
        adjoint: kind of the adjoint that gives `value` its gradient; "autograd" in the other modes, "none" where grad
            mode is off.
        mode: "implicit", "direct" or "coherent".
        covariance: of the error of w*, (B, n, n), where the solver estimates it; NaN for samples without an estimate.
        sample_shots: shots spent on each sample, (B,), where the solver chooses them; None if each circuit took as
            many as `cost` says.
        floored: whether noise had made I − J so nearly singular that the solver's or the adjoint's floor acted, (B,),
            where one of them has one.
        backward: how the backward pass solved for the gradient, once it has run, where the adjoint is iterative.
    """

    value: Tensor
    state: Tensor
    residual: Tensor
    relative_residual: Tensor
    iterations: Tensor
    evaluations: Tensor
    jacobian_evaluations: Tensor
    converged: Tensor
    reason: Tensor
    trace: list[Tensor] | None
    jacobian: Tensor | None
    penalty: Tensor | None
    cost: MapCost
    solver: str
    adjoint: str
    mode: str
    covariance: Tensor | None = None
    sample_shots: Tensor | None = None
    floored: Tensor | None = None
    backward: BackwardReport | None = None

    @property
    def circuits(self) -> int:
        """Circuits for all samples; those that a backward pass will need are not among them."""
        return self.cost.circuits(self.evaluations, self.jacobian_evaluations)

    @property
    def shots(self) -> int:
        """Shots spent on these circuits."""
        if self.sample_shots is not None:
            return int(self.sample_shots.sum())
        return self.circuits * self.cost.shots_per_circuit

    def interval(self, level: float = 0.95) -> tuple[Tensor, Tensor]:
        """Lower and upper ends, (B, n) each, of the interval of every entry of w*, at the confidence `level`.

        NaN for samples without an estimate, and everywhere if the solver estimates no covariance.

        Raises:
            ValueError: `level` is not between 0 and 1.
        """
        check_number("level", level, above=0)
        check_number("1 - level", 1 - level, above=0)
        value = self.value.detach()
        if self.covariance is None:
            return torch.full_like(value, torch.nan), torch.full_like(value, torch.nan)
        factor = float(torch.special.ndtri(torch.tensor((1 + level) / 2, dtype=torch.double)))
        half = factor * self.covariance.diagonal(dim1=1, dim2=2).sqrt()
        return value - half, value + half

    def reason_counts(self) -> dict[Reason, int]:
        """How many samples ended for each reason that occurred."""
        counts = torch.bincount(self.reason, minlength=len(Reason)).tolist()
        return {reason: counts[reason] for reason in Reason if counts[reason]}

    def __str__(self) -> str:
        samples = len(self.value)
        counts = ", ".join(f"{count} {reason.name.lower()}" for reason, count in self.reason_counts().items())
        if not samples:
            return f"Solution({self.mode}, no samples)"
        residual = float(self.relative_residual.nanmedian())
        measured = "" if math.isnan(residual) else f"; median relative residual {residual:.1e}"
        return (
            f"Solution({self.mode}, solver {self.solver}, adjoint {self.adjoint}, {samples} samples: {counts}{measured}"
            f", {float(self.iterations.double().mean()):.1f} iterations on average, "
            f"{self.circuits} circuits, {self.shots} shots)"
        )


def spectral_radius(jacobian: Tensor) -> Tensor:
    """The largest |eigenvalue| of each sample's Jacobian; plain iteration converges near w* if it is below 1.

    From the dense matrix: a power iteration would report 0 for a rotation.

    Args:
        jacobian: (B, n, n).

    Returns:
        (B,); NaN where the Jacobian is not finite.
    """
    jacobian = jacobian.detach()
    finite = jacobian.isfinite().all(dim=2).all(dim=1)
    radius = torch.linalg.eigvals(torch.where(finite[:, None, None], jacobian, 0)).abs().amax(dim=1)
    return torch.where(finite, radius, torch.nan)
