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
    """See that the file that a recipe was read from is whole: it has the mark, or, of an earlier version, the last key.

    Earlier versions wrote no mark, and lack keys that were added since in the middle.

    Raises:
        RecipeError: it lost its end.
    """
    text = path.read_text(encoding="utf-8")
    if text.endswith(_END):
        return
    present, expected = set(_keys(read_yaml(path))), list(_keys(recipe.model_dump()))
    missing = [key for key in expected if key not in present]
    if missing and (expected[-1] in missing or not text.endswith("\n")):
        raise RecipeError(f"{path}: is truncated: {missing[-1]} is missing, and its last line is not {_END.strip()!r}")


def _keys(tree: Any, above: str = "") -> Iterator[str]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield f"{above}{key}"
            yield from _keys(value, f"{above}{key}.")
