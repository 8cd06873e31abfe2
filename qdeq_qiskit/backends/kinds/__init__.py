"""Backends, one file each; `BACKENDS` finds them by their `kind`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.kinds._backend import Backend
from qdeq_qiskit.circuits._registry import recipe_kinds


def _backends() -> dict[str, type[Backend]]:
    """The final backends of this folder's modules, in the order of the file names."""
    return recipe_kinds(__name__, __path__, Backend)  # type: ignore[type-abstract]


BACKENDS = _backends()

if TYPE_CHECKING:
    AnyBackend = Backend
else:
    AnyBackend = Annotated[Union[tuple(BACKENDS.values())], Field(discriminator="kind")]  # noqa: UP007


def load_backend(name_or_path: str | Path, overrides: str | Sequence[str] = ()) -> Backend:
    """A backend recipe by name or path, with overrides such as `"shots=1000"`; its noise may be named too.

    Raises:
        RecipeError: the file, a key or a value is wrong.
    """
    backend: Backend = recipes.load(
        "backends", name_or_path, AnyBackend, overrides=overrides, references={"noise": "noise"}
    )
    return backend


__all__ = ["BACKENDS", "AnyBackend", "Backend", "load_backend"]
