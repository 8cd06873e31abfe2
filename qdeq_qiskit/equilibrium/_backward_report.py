"""What is known of the solve that a backward pass made."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ._map import MapCost
from ._options import check_name
from ._root import Root

ON_FAILURE = ("warn", "raise", "record")


class NotConvergedWarning(UserWarning):
    """Some samples of a batch have no fixed point, or no gradient, within the tolerance."""


class GradientNotConvergedError(RuntimeError):
    """Some samples' adjoint systems were not solved within the tolerance, and that was asked to be an error."""


class BackwardReport:
    """How (I − Jᵀ) u = g was solved by iteration; filled in by each backward pass, which replaces the one before.

    Args:
        samples: B.
        cost: what the map's evaluations cost.
        on_failure: what happens if a sample's system is not solved: "warn", "raise", or "record" (here only).

    Attributes:
        ran: whether there was a backward pass.
        converged: whether ‖Jᵀu + g − u‖₂ is within the tolerance, (B,); False for samples that were not solved at all,
            and for all after a given number of steps without a tolerance, as SHINE's refinement is.
        relative_residual: ‖Jᵀu + g − u‖₂ / ‖Jᵀu + g‖₂ at the last u of which it was measured, (B,); NaN for samples
            that were not solved.
        products: vector-Jacobian products uᵀ ∂f/∂w, (B,).
        cost: circuits and shots of one sample's evaluation; each product takes as many as a Jacobian.
        shares_products: whether all of a sample's products together take as many.
    """

    def __init__(self, samples: int, cost: MapCost, *, on_failure: str = "warn") -> None:
        check_name("on_failure", on_failure, ON_FAILURE)
        self.cost = cost
        self.ran = False
        self.converged = torch.zeros(samples, dtype=torch.bool)
        self.relative_residual = torch.full((samples,), torch.nan)
        self.products = torch.zeros(samples, dtype=torch.int64)
        self.shares_products = False
        self._on_failure = on_failure
        self._rows: Tensor | None = None

    @property
    def circuits(self) -> int:
        """Circuits that the products take, for all samples."""
        paid = self.products.clamp(max=1) if self.shares_products else self.products
        return self.cost.circuits_per_jacobian * int(paid.sum())

    def of_rows(self, rows: Tensor, samples: int) -> None:
        """From here on what is noted is of the samples `rows` of a larger batch."""
        self._rows = rows if self._rows is None else rows.index_select(0, self._rows)
        self.converged = torch.zeros(samples, dtype=torch.bool)
        self.relative_residual = torch.full((samples,), torch.nan)
        self.products = torch.zeros(samples, dtype=torch.int64)

    def note(self, root: Root) -> None:
        """Takes in what a backward pass found, and says what did not converge.

        Raises:
            GradientNotConvergedError: see `on_failure`.
        """
        self._take(root.converged, root.relative_residual, root.evaluations)
        if not root.unconverged or self._on_failure == "record":
            return
        message = (
            f"{root.unconverged} of {len(root.w)} samples have no gradient within the tolerance: (I − Jᵀ) u = g was "
            "not solved, and the best iterate serves. Raise the backward solver's max_iterations, take another one, or "
            "the dense implicit adjoint (no solver)."
        )
        if self._on_failure == "raise":
            raise GradientNotConvergedError(message)
        warnings.warn(message, NotConvergedWarning, stacklevel=3)

    def note_products(self, products: int, relative_residual: Tensor) -> None:
        """Takes in that every sample took so many products, and its last measured residual, (B,)."""
        counts = torch.full_like(relative_residual, products, dtype=torch.int64)
        self._take(torch.zeros_like(counts, dtype=torch.bool), relative_residual, counts)

    def _take(self, converged: Tensor, relative_residual: Tensor, products: Tensor) -> None:
        """Puts in what was found, in the batch's numbering."""
        self.ran = True
        if self._rows is None:
            self.converged, self.relative_residual, self.products = converged, relative_residual, products
            return
        self.converged, self.relative_residual, self.products = (
            whole.to(part).index_copy(0, self._rows, part)
            for whole, part in (
                (self.converged, converged),
                (self.relative_residual, relative_residual),
                (self.products, products),
            )
        )
