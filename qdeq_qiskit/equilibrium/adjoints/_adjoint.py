"""What an adjoint is: how a gradient passes through a fixed point, whichever solver found it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor

from .._map import FixedPointMap


class Adjoint(ABC):
    """Gives a fixed point its gradient; concrete adjoints are frozen dataclasses.

    Attributes:
        kind: the name in recipes.
        uses_jacobian: whether `attach` wants ∂f/∂w at the fixed point.
        records_solver: whether the solver's own iterations must be recorded by autograd; its answer, differentiable
            already, is then what `attach` is given.
    """

    kind: ClassVar[str]
    uses_jacobian: ClassVar[bool]
    records_solver: ClassVar[bool]

    @abstractmethod
    def attach(
        self, fixed_point_map: FixedPointMap, w: Tensor, jacobian: Tensor | None, value: Tensor | None
    ) -> Tensor:
        """The fixed point with a gradient to the map's `inputs`.

        Args:
            fixed_point_map: the map, not frozen.
            w: its fixed point, (B, n).
            jacobian: ∂f/∂w there, (B, n, n), without a gradient, if `uses_jacobian`.
            value: f(w), (B, n), recorded by autograd, if it is at hand: gradients may pass through it.

        Returns:
            The values of `w`, (B, n).
        """
