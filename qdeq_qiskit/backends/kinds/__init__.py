"""Backends, one file each; `BACKENDS` finds them by their `kind`."""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from qdeq_qiskit.backends.kinds._backend import Backend


def _backends() -> dict[str, type[Backend]]:
    """The final backends of this folder's modules, in the order of the file names."""
    found: dict[str, type[Backend]] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_")):
        module = importlib.import_module(f"{__name__}.{name}")
        for member in vars(module).values():
            if isinstance(member, type) and issubclass(member, Backend) and member.__module__ == module.__name__:
                found[member.model_fields["kind"].default] = member
    return found


BACKENDS = _backends()

if TYPE_CHECKING:
    AnyBackend = Backend
else:
    AnyBackend = Annotated[Union[tuple(BACKENDS.values())], Field(discriminator="kind")]  # noqa: UP007

__all__ = ["BACKENDS", "AnyBackend", "Backend"]
