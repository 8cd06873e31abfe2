"""`--set KEY=VALUE`: one key of a recipe, changed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ._errors import RecipeError
from ._words import SECRET, shown
from ._yaml import parse

MAX_KEYS = 20


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """`"a.b=c"` as (("a", "b"), c), where c is parsed as YAML.

    Raises:
        RecipeError: it is no assignment, or c is not YAML.
    """
    name, separator, value = text.partition("=")
    key = tuple(part.strip() for part in name.split("."))
    if not separator or not all(key):
        raise RecipeError(f"{as_typed(text)}: expected key=value, for example --set seed=3")
    if len(key) > MAX_KEYS:
        raise RecipeError(f"{as_typed(text)}: the key has {len(key)} parts; expected at most {MAX_KEYS}")
    try:
        return key, parse(value)
    except ValueError as error:
        raise RecipeError(f"{as_typed(text)}: the value is not YAML: {error}") from None


def check_overrides(texts: Iterable[str]) -> None:
    """Refuse what is no assignment, before anything is read or imported for it.

    Raises:
        RecipeError: as `parse_override`.
    """
    for text in texts:
        parse_override(text)


def as_typed(text: str) -> str:
    """An override as it was given, but for what may be a credential, and what is very long."""
    if SECRET.search(text):
        name, separator, _ = text.partition("=")
        text = f"{name}=..." if separator else "..."
    return f"--set {text if len(text) <= 100 else shown(text)[1:]}"
