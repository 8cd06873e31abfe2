"""How a new encoder, ansatz or readout joins by being one new file: its folder is read, its recipe class found."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from typing import TypeVar

from pydantic import BaseModel

from qdeq_qiskit.recipes import choices, shown

Recipe = TypeVar("Recipe", bound=BaseModel)


def recipe_kinds(package: str, path: Iterable[str], base: type[Recipe]) -> dict[str, type[Recipe]]:
    """The recipe classes of a folder, by their `kind`.

    Every public module of the folder is imported; every final subclass of `base` that it defines is taken. The order
    is that of the file names, then of the definitions, so error messages and schemas do not depend on the machine.

    Args:
        package: name of the folder's package.
        path: the package's `__path__`.
        base: what the recipe classes derive from. Each has a field `kind: Literal["name"] = "name"`.

    Raises:
        TypeError: if two classes claim one kind.
    """
    kinds: dict[str, type[Recipe]] = {}
    names = sorted(module.name for module in pkgutil.iter_modules(path) if not module.name.startswith("_"))
    for name in names:
        module = importlib.import_module(f"{package}.{name}")
        for member in list(vars(module).values()):
            if not (isinstance(member, type) and issubclass(member, base)):
                continue
            if inspect.isabstract(member) or member.__module__ != module.__name__:
                continue
            kind = member.model_fields["kind"].default
            if kind in kinds:
                raise TypeError(f"{member.__module__}.{member.__name__}: kind {kind!r} is taken by {kinds[kind]}")
            kinds[kind] = member
    return kinds


def unknown_name(what: str, value: object, valid: Iterable[str]) -> str:
    """An error message for a name that is not one of `valid`, the nearest of which comes first."""
    return f"{what}: {shown(value)} is unknown; {choices(value, valid, 'expected')}"
