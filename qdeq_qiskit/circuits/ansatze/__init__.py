"""Ansätze: one file each, holding the circuit and its recipe; `ANSATZE` finds them by their `kind`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from .._registry import recipe_kinds
from ._ansatz import Ansatz, AnsatzRecipe
from .paper_block import paper_block
from .qdeq import qdeq_ansatz
from .random_layer import random_layer

ANSATZE = recipe_kinds(__name__, __path__, AnsatzRecipe)  # type: ignore[type-abstract]

if TYPE_CHECKING:
    AnyAnsatzRecipe = AnsatzRecipe
else:
    AnyAnsatzRecipe = Annotated[Union[tuple(ANSATZE.values())], Field(discriminator="kind")]  # noqa: UP007

__all__ = ["ANSATZE", "Ansatz", "AnsatzRecipe", "AnyAnsatzRecipe", "paper_block", "qdeq_ansatz", "random_layer"]
