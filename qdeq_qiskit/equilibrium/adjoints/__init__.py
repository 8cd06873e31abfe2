"""Adjoints, one a file. A new one is added by writing its file: a final `Adjoint` with a `kind`."""

from __future__ import annotations

from typing import Any

from .._options import kinds_in, make
from ._adjoint import Adjoint, FoundRoot

ADJOINTS: dict[str, type[Adjoint]] = kinds_in(__name__, __path__, Adjoint)
"""The adjoints by kind."""


def make_adjoint(kind: str, **options: Any) -> Adjoint:
    """The adjoint named `kind` with the given fields.

    Raises:
        ValueError: unknown kind or option, or a value out of range.
    """
    return make("adjoint", ADJOINTS, kind, options)


__all__ = ["ADJOINTS", "Adjoint", "FoundRoot", "make_adjoint"]
