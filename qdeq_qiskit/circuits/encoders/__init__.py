"""Encoders: one file each, holding the circuit and its recipe; `ENCODERS` finds them by their `kind`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from .._registry import recipe_kinds
from ._encoder import Encoder, EncoderRecipe
from .amplitude import amplitude_angles, amplitude_encoder, amplitude_signs, gray_walsh_matrix, tree_angles
from .angle import alternating_gates, angle_encoder, paper10_gates, ryzxy_gates

ENCODERS = recipe_kinds(__name__, __path__, EncoderRecipe)  # type: ignore[type-abstract]

if TYPE_CHECKING:
    AnyEncoderRecipe = EncoderRecipe
else:
    AnyEncoderRecipe = Annotated[Union[tuple(ENCODERS.values())], Field(discriminator="kind")]  # noqa: UP007

__all__ = [
    "ENCODERS",
    "AnyEncoderRecipe",
    "Encoder",
    "EncoderRecipe",
    "alternating_gates",
    "amplitude_angles",
    "amplitude_encoder",
    "amplitude_signs",
    "angle_encoder",
    "gray_walsh_matrix",
    "paper10_gates",
    "ryzxy_gates",
    "tree_angles",
]
