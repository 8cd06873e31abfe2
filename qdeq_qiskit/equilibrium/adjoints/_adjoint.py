"""What an adjoint is: how a gradient passes through a fixed point, whichever solver found it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from .._backward_report import BackwardReport
from .._map import FixedPointMap


@dataclass(frozen=True, eq=False)
class FoundRoot:
    """What a solve hands to the adjoint; M samples, those with a finite value.

    Attributes:
        w: the fixed points, (M, n); without a gradient, unless the adjoint records the solver.
        jacobian: ∂f/∂w there, (M, n, n), without a gradient, if the adjoint uses it.
        inverse: the solver's estimate of (I − ∂f/∂w)⁻¹, (M, n, n), if the adjoint uses that.
        value: f(w), (M, n), recorded by autograd, if it is at hand: gradients may pass through it.
        report: where an adjoint that solves something says how that went.
    """

    w: Tensor
    jacobian: Tensor | None
    inverse: Tensor | None
    value: Tensor | None
    report: BackwardReport | None


class Adjoint(ABC):
    """Gives a fixed point its gradient; concrete adjoints are frozen dataclasses.

    Attributes:
        kind: the name in recipes.
        records_solver: whether the solver's own iterations must be recorded by autograd; its answer, differentiable
            already, is then what `attach` is given.
        uses_inverse: whether `attach` wants the solver's estimate of (I − ∂f/∂w)⁻¹.
    """

    kind: ClassVar[str]
    records_solver: ClassVar[bool] = False
    uses_inverse: ClassVar[bool] = False

    @property
    def uses_jacobian(self) -> bool:
        """Whether `attach` wants ∂f/∂w at the fixed point."""
        return False

    @property
    def solves(self) -> bool:
        """Whether the backward pass solves something, of which it reports."""
        return False

    def steadied(self, fixed_point_map: FixedPointMap, jacobian: Tensor) -> tuple[Tensor, Tensor | None]:
        """∂f/∂w, (M, n, n), as this adjoint will use it, and for which samples that is another one than given, (M,)."""
        return jacobian, None

    @abstractmethod
    def attach(self, fixed_point_map: FixedPointMap, found: FoundRoot) -> Tensor:
        """The fixed points with a gradient to the map's `inputs`.

        Args:
            fixed_point_map: the map, not frozen.
            found: its fixed points, and what is known there.

        Returns:
            The values of `found.w`, (M, n).
        """
