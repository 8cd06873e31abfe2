"""A recipe's mapping with what was put into it: overrides, and other recipes in place of their names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ._errors import RecipeError
from ._extends import Whole, whole
from ._files import find
from ._overrides import as_typed, parse_override
from ._words import shown


class Tree:
    """A recipe's mapping, and for each part of it where it was written (for errors) and from which folder."""

    def __init__(self, data: Any, *, origin: str, base: Path | None = None) -> None:
        self.data = data
        self.origins: dict[tuple[str, ...], tuple[str, int]] = {(): (origin, 0)}
        self.bases: dict[tuple[str, ...], Path | None] = {(): base}

    def set(self, key: tuple[str, ...], value: Any, *, origin: str, base: Path) -> None:
        """Put `value` under `key`; mappings on the way are made where they are missing."""
        node = self.data
        for depth, part in enumerate(key):
            where = ".".join(key[:depth])
            if isinstance(node, list) and not (part.isdecimal() and len(part) < 9 and int(part) < len(node)):
                raise RecipeError(
                    f"{origin}: {where} is a list of {len(node)} entries, numbered from 0; there is no {shown(part)}"
                )
            if not isinstance(node, dict | list):
                raise RecipeError(
                    f"{origin}: {where} is {shown(node)}, it has no keys below it; expected {where}=VALUE"
                )
            place: Any = int(part) if isinstance(node, list) else part
            if depth == len(key) - 1:
                node[place] = value
            elif isinstance(node, dict) and part not in node:
                node[place] = {}
                self.origins[key[: depth + 1]] = (origin, depth + 1)
            node = node[place]
        for places in (self.origins, self.bases):
            for below in [known for known in places if known[: len(key)] == key]:
                del places[below]
        self.origins[key] = (origin, len(key))
        self.bases[key] = base

    def set_recipe(self, key: tuple[str, ...], recipe: Whole) -> None:
        """Put a recipe of its own under `key`; each part of it may come from another file."""
        self.set(key, recipe.data, origin=str(recipe.places[()]), base=recipe.places[()].parent)
        self.note(recipe, key)

    def note(self, recipe: Whole, key: tuple[str, ...] = ()) -> None:
        """Remember where the parts of the recipe under `key` were written."""
        for below, file in recipe.places.items():
            self.origins[key + below] = (str(file), len(key))
            self.bases[key + below] = file.parent

    def named(
        self, pattern: tuple[str, ...], within: tuple[str, ...] | None = None
    ) -> Iterator[tuple[tuple[str, ...], str]]:
        """The keys that match a pattern and hold a word, and the word; with `within`, only those above that key."""
        found: list[tuple[tuple[str, ...], Any]] = [((), self.data)]
        for depth, part in enumerate(pattern):
            deeper = [(key, name, node) for key, holder in found for name, node in _entries(holder)]
            wanted = part if within is None else within[depth]
            found = [
                ((*key, name), node) for key, name, node in deeper if part in ("*", name) and wanted in ("*", name)
            ]
        return ((key, node) for key, node in found if isinstance(node, str))

    def origin(self, loc: Sequence[Any]) -> tuple[str, int]:
        """Where the part at `loc` was written, and how many leading keys that place takes for granted."""
        return self.origins[tuple(loc[: self._nearest(self.origins, loc)])]

    def base(self, loc: Sequence[str]) -> Path | None:
        """The folder from which names at `loc` are looked up."""
        return self.bases[tuple(loc[: self._nearest(self.bases, loc)])]

    def _nearest(self, places: Mapping[tuple[str, ...], Any], loc: Sequence[Any]) -> int:
        return next((length for length in range(len(loc), -1, -1) if tuple(loc[:length]) in places), 0)


def grown(kind: str, path: Path, overrides: Iterable[str], references: Mapping[str, str]) -> Tree:
    """A file's mapping, with what it extends, with overrides applied and references put in."""
    # What stands above goes first: only then is there something below.
    patterns = {
        tuple(key.split(".")): kind for key, kind in sorted(references.items(), key=lambda it: it[0].count("."))
    }
    recipe = whole(kind, path)
    tree = Tree(recipe.data, origin=str(path), base=path.parent)
    tree.note(recipe)
    for text in overrides:
        key, value = parse_override(text)
        above = {pattern: kind for pattern, kind in patterns.items() if len(pattern) < len(key)}
        _expand(tree, above, within=key)
        tree.set(key, value, origin=as_typed(text), base=path.parent)
    _expand(tree, patterns)
    return tree


def _entries(node: Any) -> Iterator[tuple[str, Any]]:
    """What a mapping or list holds, by name or number."""
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, list):
        yield from ((str(number), entry) for number, entry in enumerate(node))


def _expand(tree: Tree, references: Mapping[tuple[str, ...], str], within: tuple[str, ...] | None = None) -> None:
    """Put the recipes that are referred to by name in place of their names; with `within`, those above that key."""
    for pattern, kind in references.items():
        for key, name in list(tree.named(pattern, within)):
            try:
                recipe = whole(kind, find(kind, name, base=tree.base(key)))
            except RecipeError as error:
                raise RecipeError(f"{tree.origin(key)[0]}: {'.'.join(key)}: {error}") from None
            tree.set_recipe(key, recipe)
