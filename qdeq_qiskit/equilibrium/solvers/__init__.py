"""Solvers, one a file. A new one is added by writing its file: a final `Solver` with a `kind`."""

from __future__ import annotations

from typing import Any

from .._options import kinds_in, make
from ._solver import Evaluation, Solver, State

SOLVERS: dict[str, type[Solver]] = kinds_in(__name__, __path__, Solver)
"""The solvers by kind."""


def make_solver(kind: str, **options: Any) -> Solver:
    """The solver named `kind` with the given fields.

    Raises:
        ValueError: unknown kind or option, or a value out of range.
    """
    return make("solver", SOLVERS, kind, options)


__all__ = ["SOLVERS", "Evaluation", "Solver", "State", "make_solver"]
