"""Readouts, the lists of observables: one file each; `READOUTS` finds their recipes by their `kind`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from .._registry import recipe_kinds
from ._readout import ReadoutRecipe
from .z import z_readout

READOUTS = recipe_kinds(__name__, __path__, ReadoutRecipe)  # type: ignore[type-abstract]

if TYPE_CHECKING:
    AnyReadoutRecipe = ReadoutRecipe
else:
    AnyReadoutRecipe = Annotated[Union[tuple(READOUTS.values())], Field(discriminator="kind")]  # noqa: UP007

__all__ = ["READOUTS", "AnyReadoutRecipe", "ReadoutRecipe", "z_readout"]
