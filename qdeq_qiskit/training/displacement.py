"""How far equilibria of the same samples are from one another: distances, and roots that are others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qdeq_qiskit.training.evaluation import Evaluation

# A relative residual of τ leaves w within about ‖(I − J)⁻¹‖ τ ‖w‖ of the root. Two such errors, with an inverse of up
# to 50, stay within this many τ ‖w‖; two roots further apart are taken for different ones.
BRANCH_TOLERANCES = 100
# Half-widths of a 95% interval: six standard deviations, which no estimate of the same root is off by chance.
BRANCH_HALF_WIDTHS = 3


@dataclass(frozen=True)
class Followed:
    """The roots that another map's equilibria become when its solver starts from them; N samples, n state entries.

    Attributes:
        state: w, (N, n).
        converged: whether the tolerance was met, (N,).
    """

    state: np.ndarray
    converged: np.ndarray


@dataclass(frozen=True)
class Displacement:
    """From the equilibria of one map to those of another.

    Residuals come first: only samples that converged on both sides are matched. Of these, a sample whose root was
    found to be another than the one that the first map's root moves to has changed its branch; that is counted, and
    no distance describes it. Distances are those of the samples that stayed.

    Attributes:
        distance: ‖w′ − w‖ of the matched samples that stayed on their branch, (M,).
        lifted: ‖z′ − z‖ of the same, with z = R w, (M,).
        branch_changes: matched samples that did not; None where roots cannot be told apart.
        not_compared: samples that did not converge on both sides; None where convergence means nothing.
    """

    distance: np.ndarray
    lifted: np.ndarray
    branch_changes: int | None
    not_compared: int | None

    def quartiles(self, *, lifted: bool = False) -> tuple[float, float, float] | None:
        """Lower quartile, median and upper quartile of the distances in w, or in z; None if there are none."""
        distances = self.lifted if lifted else self.distance
        if not len(distances):
            return None
        low, median, high = np.quantile(distances, (0.25, 0.5, 0.75))
        return float(low), float(median), float(high)

    def figures(self) -> dict[str, Any]:
        """Figures for a result file; counts only where they mean something."""
        quartiles = self.quartiles()
        counts = {"branch_changes": self.branch_changes, "not_compared": self.not_compared}
        return {
            "median_displacement": quartiles[1] if quartiles else None,
            **{name: count for name, count in counts.items() if count is not None},
        }


def displacement(
    first: Evaluation,
    other: Evaluation,
    *,
    tolerance: float | None,
    followed: Followed | None = None,
    lift: np.ndarray | None = None,
) -> Displacement:
    """From the equilibria of `first` to those of `other`, sample by sample.

    Args:
        first: on the map that is compared with.
        other: on the other map.
        tolerance: relative residual that both sought, the larger one of the two; None where no equilibrium was
            sought, so that there are no roots to tell apart. Two that are further apart than `BRANCH_TOLERANCES`
            tolerances, relative to the larger one, are different ones; of an estimate, with a confidence interval,
            those that are further apart than `BRANCH_HALF_WIDTHS` half-widths of it in some entry.
        followed: the roots of the other map reached from those of `first`; None if the two maps are the same, so that
            a root is expected where it was.
        lift: R, (d, n), of z = R w; None for z = w.
    """
    moved = other.state - first.state
    distance = np.linalg.norm(moved, axis=1)
    lifted = distance if lift is None else np.linalg.norm(moved @ lift.T, axis=1)
    if tolerance is None:
        return Displacement(distance, lifted, None, None)
    expected = Followed(first.state, first.converged) if followed is None else followed
    matched = first.converged & other.converged & expected.converged
    if len(other.half_width):
        matched &= np.isfinite(other.half_width)
        apart = np.abs(other.state - expected.state).max(axis=1)
        changed = matched & (apart > BRANCH_HALF_WIDTHS * other.half_width)
    else:
        size = np.maximum(np.linalg.norm(expected.state, axis=1), np.linalg.norm(other.state, axis=1))
        apart = np.linalg.norm(other.state - expected.state, axis=1)
        changed = matched & (apart > BRANCH_TOLERANCES * tolerance * size)
    stayed = matched & ~changed
    return Displacement(distance[stayed], lifted[stayed], int(changed.sum()), int((~matched).sum()))
