"""Sources of noise, one file each; `SOURCES` finds them by their `kind`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from qdeq_qiskit.circuits._registry import recipe_kinds
from qdeq_qiskit.noise.sources._source import Source

SOURCES = recipe_kinds(__name__, __path__, Source)  # type: ignore[type-abstract]

if TYPE_CHECKING:
    AnySource = Source
else:
    AnySource = Annotated[Union[tuple(SOURCES.values())], Field(discriminator="kind")]  # noqa: UP007

__all__ = ["SOURCES", "AnySource", "Source"]
