"""A penalty from differences of outputs, which needs first derivatives only."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from .._map import FixedPointMap
from .._options import check_count, check_name
from ._penalty import JacobianPenalty

_RULES = ("shift", "quadratic")
_SPACES = ("full", "reduced")


@dataclass(frozen=True, kw_only=True)
class ParameterShiftPenalty(JacobianPenalty):
    """‖R ∂q/∂v‖²_F / d or ‖∂q/∂v R‖²_F / n, estimated from a few columns of ∂q/∂v, each a difference of outputs.

    Columns are drawn for each sample by itself, without repetition, from torch's generator, and weighted so that the
    mean over draws is the penalty; all columns give it exactly. A column is a difference of q at two other features,
    exactly:

    - shift: (q(v + π/2 eᵢ) − q(v − π/2 eᵢ)) / 2, where feature i is the angle of one Pauli rotation (Schuld et al.,
      Phys. Rev. A 99 (2019) 032331). For angle encoders such as `ryzxy`.
    - quadratic: ([N(v + s d) − N(v − s d)] / 2s − 2 (v·d) q(v)) / ‖v‖² with N(v) = ‖v‖² q(v), which is a quadratic form
      for amplitude encoders without noise. For those.

    So its gradient is one of outputs, which a stock TorchConnector and circuits with shots have, while a Jacobian there
    is a constant. With shots the penalty is too large by the variance of the columns; its gradient, measured by itself,
    is unbiased.

    Attributes:
        rule: "shift" or "quadratic".
        columns: how many are drawn for each sample, at two evaluations each; at most d, or n where reduced.
        space: "full", columns are features; or "reduced", columns of R, which the quadratic rule alone has.
    """

    kind: ClassVar[str] = "parameter_shift"
    uses_jacobian: ClassVar[bool] = False
    needs_second_derivatives: ClassVar[bool] = False

    rule: Literal["shift", "quadratic"] = "shift"
    columns: int = 1
    space: Literal["full", "reduced"] = "full"

    def __post_init__(self) -> None:
        check_name("rule", self.rule, _RULES)
        check_name("space", self.space, _SPACES)
        check_count("columns", self.columns, least=1)
        if self.rule == "shift" and self.space == "reduced":
            raise ValueError(
                "space='reduced' moves several angles at once, for which rule='shift' does not hold: take "
                "space='full', or rule='quadratic' for an amplitude encoder."
            )

    @property
    def evaluations(self) -> int:
        return 2 * self.columns + (self.rule == "quadratic")

    def check(self, lift: Tensor | None) -> None:
        if lift is None:
            raise ValueError(
                "the penalty 'parameter_shift' is of f(w) = q(R w + x): give a lift, or take 'hutchinson'."
            )
        count = lift.shape[self.space == "reduced"]
        if self.columns > count:
            raise ValueError(
                f"columns of the penalty 'parameter_shift' must be at most {count}, as many as there are; it is "
                f"{self.columns}."
            )

    def measure(
        self, fixed_point_map: FixedPointMap, w: Tensor, jacobian: Tensor | None, lift: Tensor | None
    ) -> Tensor:
        v, layer = fixed_point_map.at_features(w)
        assert lift is not None  # see `check`
        reduced = self.space == "reduced"
        directions = lift.mT if reduced else torch.eye(v.shape[1], dtype=v.dtype, device=v.device)
        count = len(directions)
        chosen = torch.rand(len(v), count, device=v.device).argsort(dim=1)[:, : self.columns]
        derive = _by_shifts if self.rule == "shift" else _by_quadratic_form
        found = derive(v, layer, directions[chosen])  # (B, columns, n)
        if not reduced:
            found = found @ lift.mT
        size = lift.shape[1] if reduced else lift.shape[0]
        return found.square().sum() * (count / self.columns) / (max(len(v), 1) * size)


def _by_shifts(v: Tensor, layer: Callable[[Tensor], Tensor], directions: Tensor) -> Tensor:
    """∂q along the directions, (B, m, d), each one angle's; (B, m, n)."""
    above, below = _beside(v, layer, math.pi / 2 * directions)
    return (above - below) / 2


def _by_quadratic_form(v: Tensor, layer: Callable[[Tensor], Tensor], directions: Tensor) -> Tensor:
    """∂q along the directions, (B, m, d), where ‖v‖² q(v) is a quadratic form; (B, m, n). Zero at v = 0."""
    norm = v.square().sum(1)[:, None, None]
    # Exact for every length of the steps; noise counts least where they are about as long as v.
    length = (norm.detach() / directions.square().sum(2, keepdim=True)).sqrt()
    somewhere = norm > 0
    length = torch.where(somewhere, length, torch.ones_like(length))
    above, below = _beside(v, layer, length * directions)
    squares = [(v.unsqueeze(1) + sign * length * directions).square().sum(2, keepdim=True) for sign in (1, -1)]
    slope = (squares[0] * above - squares[1] * below) / (2 * length)
    along = (v.unsqueeze(1) * directions).sum(2, keepdim=True)
    derivative = (slope - 2 * along * layer(v).unsqueeze(1)) / torch.where(somewhere, norm, torch.ones_like(norm))
    return torch.where(somewhere, derivative, torch.zeros_like(derivative))


def _beside(v: Tensor, layer: Callable[[Tensor], Tensor], steps: Tensor) -> tuple[Tensor, Tensor]:
    """q(v + step) and q(v − step), (B, m, n) each, in one call, for steps (B, m, d)."""
    moved = torch.stack((v.unsqueeze(1) + steps, v.unsqueeze(1) - steps)).transpose(1, 2)  # (2, m, B, d)
    values = layer(moved.flatten(0, 2)).unflatten(0, moved.shape[:3]).transpose(1, 2)
    return values[0], values[1]
