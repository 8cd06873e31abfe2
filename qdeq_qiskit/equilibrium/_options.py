"""What makes options trustworthy: tables of named kinds, and one clear error for a wrong value."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

T = TypeVar("T")


def kinds_in(package: str, path: Iterable[str], base: type[Any]) -> dict[str, type[Any]]:
    """Every final class derived from `base` in the modules of a package, by its `kind`.

    So that a new kind is added by writing one file.

    Args:
        package: dotted name of the package.
        path: its `__path__`.
        base: the abstract class.

    Raises:
        TypeError: two classes claim one kind.
    """
    table: dict[str, type[Any]] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(path)):
        module = importlib.import_module(f"{package}.{name}")
        for item in vars(module).values():
            if isinstance(item, type) and issubclass(item, base) and item.__module__ == module.__name__:
                kind = getattr(item, "kind", None)
                if kind is None:
                    continue
                if kind in table:
                    raise TypeError(f"{item.__module__}.{item.__name__}: kind {kind!r} is taken by {table[kind]}")
                table[kind] = item
    return table


def make(what: str, table: Mapping[str, type[T]], kind: str, options: Mapping[str, Any]) -> T:
    """An object of the named kind.

    Args:
        what: what the table holds, for messages ("solver").
        table: the classes by kind; each a dataclass.
        kind: which one.
        options: its fields by name.

    Raises:
        ValueError: unknown kind or option (the nearest valid name is given), or a value out of range.
    """
    check_name(what, kind, table)
    valid = [field.name for field in dataclasses.fields(table[kind])]  # type: ignore[arg-type]
    for name in options:
        check_name(f"option of the {what} {kind!r}", name, valid)
    return table[kind](**options)


def check_name(what: str, value: object, valid: Iterable[str]) -> None:
    """Raises ValueError unless `value` is one of `valid`, naming the nearest of them."""
    names = list(valid)
    if value in names:
        return
    near = get_close_matches(_shown(value).strip("'"), names, n=1, cutoff=0.5)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    choice = f"Valid are {', '.join(map(repr, names))}." if names else "It has none: leave it out."
    raise ValueError(f"Unknown {what}: {_shown(value)}.{guess} {choice}")


def check_number(
    name: str, value: object, *, above: float = -math.inf, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raises ValueError unless `value` is a number with above < value, least ≤ value ≤ most; infinity is one."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if number and above < value and least <= value <= most:  # type: ignore[operator]
        return
    bounds = [f"greater than {above:g}"] if above > -math.inf else []
    bounds += [f"at least {least:g}"] if least > -math.inf else []
    bounds += [f"at most {most:g}"] if most < math.inf else []
    raise ValueError(f"{name} must be a number {' and '.join(bounds)}; it is {_shown(value)}.")


def check_count(name: str, value: object, *, least: int, most: int = 10**9) -> None:
    """Raises ValueError unless `value` is an integer with least ≤ value ≤ most."""
    if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
        return
    upper = f" and at most {most}" if isinstance(value, int) and value > most else ""
    raise ValueError(f"{name} must be an integer, at least {least}{upper}; it is {_shown(value)}.")


def _shown(value: object) -> str:
    """A value as a message shows it: short, whatever it is."""
    try:
        text = repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return "a very long number"
    return text if len(text) <= 80 else f"{text[:77]}..."
