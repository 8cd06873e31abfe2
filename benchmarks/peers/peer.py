"""What a peer is: the one thing that a file in `contenders/` has to provide."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from .points import Points
from .problem import Problem

Operation = Literal["forward", "jacobian", "step"]
OPERATIONS: tuple[Operation, ...] = ("forward", "jacobian", "step")
Precision = Literal["single", "double"]
DTYPES = {"single": torch.float32, "double": torch.float64}
TOLERANCES = {"single": 1e-5, "double": 1e-10}
"""How far numbers may differ from ours in double precision, relative to the largest of them where that exceeds 1."""


class Case(Protocol):
    """One problem at some points, set up by a peer."""

    def value(self, operation: Operation) -> Tensor:
        """What the operation gives at the first point, to be compared.

        forward: ⟨Z_k⟩, (B, n). jacobian: ∂⟨Z_k⟩/∂v, (B, n, d). step: the loss's gradients before clipping, the
        circuit's weights first, then those of the head, flat, from a fixed point solved to rounding.
        """

    def seconds(self, operation: Operation) -> float:
        """How long the operation takes, once; the points take turns."""

    def close(self) -> None:
        """Sets free whatever the case holds, such as a process."""


class Peer(Protocol):
    """A library, or a way of using one.

    Attributes:
        name: as in the tables.
        ours: whether it is of this library.
        precisions: in which it computes.
        loops: whether its time grows in proportion to the batch because it evaluates sample by sample; only then is a
            time that would be too long estimated from a smaller batch.
        penalised: whether its circuits can be differentiated twice, as the Jacobian penalty in the loss asks. Its step
            is made without a penalty if not, which is less work.
        checked: how many samples are compared with ours; None for all.
    """

    name: str
    ours: bool
    precisions: tuple[Precision, ...]
    loops: bool
    penalised: bool
    checked: int | None

    def missing(self) -> str | None:
        """Why it cannot be used here, and what to do; None if it can."""

    def versions(self) -> dict[str, str]:
        """Of the packages that it consists of."""

    def refusal(self, problem: Problem, operation: Operation) -> str | None:
        """Why it cannot do this; None if it can."""

    def case(self, problem: Problem, precision: Precision, points: Points) -> Case:
        """Sets up a problem."""
