"""Jacobian penalties, one a file. A new one is added by writing its file: a final `JacobianPenalty` with a `kind`."""

from __future__ import annotations

from typing import Any

from .._options import kinds_in, make
from ._penalty import JacobianPenalty

PENALTIES: dict[str, type[JacobianPenalty]] = kinds_in(__name__, __path__, JacobianPenalty)
"""The penalties by kind."""


def make_penalty(kind: str, **options: Any) -> JacobianPenalty:
    """The penalty named `kind` with the given fields.

    Raises:
        ValueError: unknown kind or option, or a value out of range.
    """
    return make("penalty", PENALTIES, kind, options)


__all__ = ["PENALTIES", "JacobianPenalty", "make_penalty"]
