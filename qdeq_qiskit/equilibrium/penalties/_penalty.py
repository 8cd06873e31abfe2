"""What a Jacobian penalty is: a number that is small where f contracts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from .._map import FixedPointMap


class JacobianPenalty(ABC):
    """A differentiable measure of ∂f/∂w at the (detached) fixed points; concrete penalties are frozen dataclasses.

    Attributes:
        kind: the name in recipes.
        uses_jacobian: whether `measure` wants ∂f/∂w.
        needs_second_derivatives: whether its gradient is one of derivatives of f; if not, of values of f alone.
    """

    kind: ClassVar[str]
    uses_jacobian: ClassVar[bool] = True
    needs_second_derivatives: ClassVar[bool] = True

    @property
    def evaluations(self) -> int:
        """Evaluations of f that `measure` makes for each sample."""
        return 0

    @property
    def jacobian_evaluations(self) -> int:
        """Evaluations of ∂f/∂w, or products with it, that `measure` makes for each sample, if it is given none."""
        return 0

    def check(self, lift: Tensor | None) -> None:
        """Raises ValueError if the penalty cannot be taken of an equilibrium with this lift R, (d, n), or without."""
        return

    @abstractmethod
    def measure(
        self, fixed_point_map: FixedPointMap, w: Tensor, jacobian: Tensor | None, lift: Tensor | None
    ) -> Tensor:
        """The penalty of a batch, a scalar, to be weighted and added to the loss.

        Args:
            fixed_point_map: the map, not frozen.
            w: its fixed points, (B, n), without a gradient.
            jacobian: ∂f/∂w there, (B, n, n), differentiable in the map's inputs, if the penalty uses it.
            lift: R, (d, n), or None where the state is not lifted.
        """
