"""A peer whose circuit is a torch module in this interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import final

import torch

from .layer_case import CircuitLayer, LayerCase
from .peer import DTYPES, Operation, Precision
from .points import Points
from .problem import Problem
from .solving import Solving, by_equilibrium

SAME_CIRCUIT = "the same circuit as without torchdeq"


def nothing_refused(problem: Problem, operation: Operation) -> str | None:
    """Every problem and operation will do."""
    return None


def angles_only(problem: Problem, operation: Operation) -> str | None:
    """Problems whose features are gate angles; see `LayerPeer.refuses`."""
    if problem.encoding == "angle":
        return None
    return "an EstimatorQNN's inputs are gate angles: Qiskit's own state preparation has no gradient in the amplitudes"


@final
@dataclass(frozen=True)
class LayerPeer:
    """See `peer.Peer`.

    Attributes:
        packages: what has to be installed.
        make: the circuit as a torch module, of a problem in a precision.
        refuses: why a problem or an operation cannot be done; None if it can.
        solving: by whose solver the step is made.
        at_once: the most samples whose graph a step holds; None for all.
    """

    name: str
    packages: tuple[str, ...]
    make: Callable[[Problem, torch.dtype], CircuitLayer]
    precisions: tuple[Precision, ...] = ("single", "double")
    ours: bool = False
    loops: bool = False
    penalised: bool = True
    checked: int | None = None
    refuses: Callable[[Problem, Operation], str | None] = nothing_refused
    solving: Solving = by_equilibrium
    at_once: int | None = None

    def missing(self) -> str | None:
        absent = [package for package in self.packages if _version(package) is None]
        if not absent:
            return None
        return f"{' and '.join(absent)} not installed: pip install -r requirements-peers.txt"

    def versions(self) -> dict[str, str]:
        found: Mapping[str, str | None] = {package: _version(package) for package in self.packages}
        return {package: number for package, number in found.items() if number is not None}

    def refusal(self, problem: Problem, operation: Operation) -> str | None:
        return self.refuses(problem, operation)

    def case(self, problem: Problem, precision: Precision, points: Points) -> LayerCase:
        dtype = DTYPES[precision]
        return LayerCase(
            lambda: self.make(problem, dtype),
            points.to(dtype),
            penalised=self.penalised,
            solving=self.solving,
            at_once=self.at_once,
        )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
