"""Resolved recipes: files that hold every key, defaults included, and say where they end.

A recipe that lost its end is still YAML, and what it lost would be replaced by defaults: another model.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from qdeq_qiskit.recipes import RecipeError, dump, read_yaml

_END = "...\n"  # YAML's own mark of the end of a document


def resolved(recipe: BaseModel) -> str:
    """A recipe as YAML, every default written out, and the mark of its end."""
    return dump(recipe) + _END


def check_whole(path: Path, recipe: BaseModel) -> None:
    """See that the file that a recipe was read from is whole: it has the mark, or every key.

    Raises:
        RecipeError: it lost its end.
    """
    if path.read_text(encoding="utf-8").endswith(_END):
        return
    missing = set(_keys(recipe.model_dump())) - set(_keys(read_yaml(path)))
    if missing:
        raise RecipeError(f"{path}: is truncated: {min(missing)} is missing, and its last line is not {_END.strip()!r}")


def _keys(tree: Any, above: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield f"{above}{key}"
            yield from _keys(value, f"{above}{key}.")
