"""Values that pydantic turns into another type, which a recipe hardly means: true as 1, "4" as 4, yes as true."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from ._wording import refused

Problem = tuple[tuple[str, ...], str]


def converted(data: Any, result: Any, keys: tuple[str, ...] = ()) -> Iterator[Problem]:
    """The scalars of a recipe that became something else, each with its place.

    Args:
        data: the recipe as it was read.
        result: what pydantic made of it.
        keys: the place of both.
    """
    if isinstance(data, dict) and isinstance(result, BaseModel):
        fields = {**result.__dict__, **(result.model_extra or {})}
        for name in data:
            if name in fields:
                yield from converted(data[name], fields[name], (*keys, str(name)))
    elif isinstance(data, dict) and isinstance(result, dict):
        for name in data:
            if name in result:
                yield from converted(data[name], result[name], (*keys, str(name)))
    elif isinstance(data, list | tuple) and isinstance(result, list | tuple) and len(data) == len(result):
        for number, (before, after) in enumerate(zip(data, result, strict=True)):
            yield from converted(before, after, (*keys, str(number)))
    elif (expected := _expected(data, result)) is not None:
        yield keys, refused(data, f"expected {expected}")


def _expected(data: Any, result: Any) -> str | None:
    """What should have been given, if the value is not what was given."""
    if isinstance(result, bool):
        return None if isinstance(data, bool) or not isinstance(data, int | float | str) else "true or false"
    if isinstance(result, int | float) and isinstance(data, bool | str):
        quoted = f", without quotes: {result!r}" if isinstance(data, str) else ""
        return f"a {'whole ' if isinstance(result, int) else ''}number{quoted}"
    return None
