"""A page of the API reference for each public package: what its `__all__` names, from the docstrings."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from torch import nn

PACKAGES = (
    "circuits",
    "equilibrium",
    "noise",
    "backends",
    "models",
    "training",
    "studies",
    "reproduction",
    "hardware",
    "sklearn",
    "recipes",
)
"""The subpackages of `qdeq_qiskit` that are for users, in the order in which they build on each other."""


def api_pages() -> dict[str, str]:
    """The pages by their file names."""
    return {f"{name}.rst": "\n".join(_page(f"qdeq_qiskit.{name}")) + "\n" for name in PACKAGES}


def _page(package: str) -> Iterator[str]:
    module = importlib.import_module(package)
    things = {name: getattr(module, name) for name in public_names(module)}
    yield from (package, "=" * len(package), "", f".. automodule:: {package}", "   :no-members:", "")
    yield from (f".. currentmodule:: {package}", "")
    for heading, directive in (("Classes", "autoclass"), ("Functions", "autofunction"), ("Data", "autodata")):
        chosen = [name for name, thing in things.items() if _directive(thing) == directive]
        if not chosen:
            continue
        yield from (heading, "-" * len(heading), "")
        if len(chosen) > 1 and directive != "autodata":
            yield from (".. autosummary::", "   :nosignatures:", "", *(f"   {name}" for name in chosen), "")
        for name in chosen:
            yield from (f".. {directive}:: {package}.{name}", *_options(things[name], directive), "")


def public_names(module: Any) -> list[str]:
    """What a module offers: its `__all__`, or else the classes and functions of its own without an underscore."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return [name for name in listed if not name.startswith("__")]
    own = {name: thing for name, thing in vars(module).items() if not name.startswith("_")}
    return [
        name
        for name, thing in own.items()
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ == module.__name__
    ]


def _directive(thing: Any) -> str:
    if inspect.isclass(thing):
        return "autoclass"
    return "autofunction" if inspect.isfunction(inspect.unwrap(thing)) else "autodata"


def _options(thing: Any, directive: str) -> Iterator[str]:
    if directive == "autodata":
        yield "   :no-value:"
    if directive == "autoclass":
        yield "   :members:"
        if issubclass(thing, nn.Module):  # what its bases here offer, but not all that torch has
            yield f"   :inherited-members: {nn.Module.__name__}"
        if issubclass(thing, tuple):  # the fields of a named tuple are told under its attributes
            yield f"   :exclude-members: {', '.join(getattr(thing, '_fields', ()))}"
