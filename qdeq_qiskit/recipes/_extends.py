"""`extends: NAME`: a recipe that says only what differs from another one of its kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._errors import RecipeError
from ._files import find, singular
from ._words import nearest, shown
from ._yaml import read_yaml

EXTENDS = "extends"

# Keys whose value is a file or folder beside the recipe that names it.
_FILE_KEYS = ("calibration", "path")
# What a recipe says of itself alone, not of those that are made from it.
_OWN = ("description",)


@dataclass
class Whole:
    """A recipe file with those that it is made from.

    Attributes:
        data: their mapping: of mappings key by key, of everything else that which stands nearest to the file.
        places: the file in which each part was written, of a merged mapping the last one that adds to it; under ()
            that of the recipe itself.
    """

    data: dict[str, Any]
    places: dict[tuple[str, ...], Path] = field(default_factory=dict)

    def lay_over(self, data: dict[str, Any], path: Path, above: tuple[str, ...] = ()) -> None:
        """Put what a file says over what is there."""
        below = self.data
        for part in above:
            below = below[part]
        for name, value in data.items():
            key = (*above, name)
            if _may_be_merged(below.get(name), value):
                for part in below[name]:  # from here on, the whole of it is not where its parts are
                    self.places.setdefault((*key, part), self.places[key])
                self.lay_over(value, path, key)
            else:
                below[name] = value
                self.places = {known: where for known, where in self.places.items() if known[: len(key)] != key}
            self.places[key] = path


def whole(kind: str, path: Path) -> Whole:
    """A recipe's mapping with everything that it takes over from others put in, and without `extends`.

    Args:
        kind: of recipe.
        path: its file.

    Raises:
        RecipeError: a file cannot be read, a name in `extends` is that of no recipe, or the recipe extends itself.
    """
    files = _files_of(kind, path)
    merged = Whole({})
    for file, data in reversed(files):
        if not _may_be_merged(merged.data, data):
            merged = Whole({})
        merged.lay_over(data, file)
        if file != path:
            merged.data = {name: value for name, value in merged.data.items() if name not in _OWN}
    merged.places[()] = path
    return merged


def _files_of(kind: str, path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """A recipe, the one that it extends, the one that this extends, ..., each with its own mapping."""
    files: list[tuple[Path, dict[str, Any]]] = []
    data = _read(path)
    while True:
        files.append((path, data))
        if EXTENDS not in data:
            _refuse_misspelt(path, data)
            return files
        name = data.pop(EXTENDS)
        if not isinstance(name, str):
            raise RecipeError(
                f"{path}: {EXTENDS}: {shown(name)} is not valid; expected the name of one {singular(kind)} recipe, or "
                "the path of its file"
            )
        try:
            base = find(kind, name, base=path.parent)
            data = _read(base)
        except RecipeError as error:
            raise RecipeError(f"{path}: {EXTENDS}: {error}") from None
        if any(base.resolve() == file.resolve() for file, _ in files):
            raise RecipeError(
                f"{path}: {EXTENDS}: {shown(name)} is made from this recipe itself; give another one, or leave "
                f"{EXTENDS} out"
            )
        path = base


def _may_be_merged(base: Any, value: Any) -> bool:
    """Whether two mappings are of the same thing: another kind has other keys."""
    return (
        isinstance(base, dict) and isinstance(value, dict) and value.get("kind", base.get("kind")) == base.get("kind")
    )


def _refuse_misspelt(path: Path, data: dict[str, Any]) -> None:
    """Without the recipe that was meant to be extended, most keys would be said to be missing."""
    close = nearest(EXTENDS, data, cutoff=0.8)
    if close is not None:
        raise RecipeError(
            f"{path}: {close}: unknown key {close!r} (value {shown(data[close])}); did you mean {EXTENDS!r}?"
        )


def _read(path: Path) -> dict[str, Any]:
    """A file's mapping, with the files that it names found from where it stands."""

    def found(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: found(name, entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [found("", entry) for entry in value]
        if key in _FILE_KEYS and isinstance(value, str) and _is_there(path.parent, value):
            return str((path.parent / value).absolute())
        return value

    return {name: found(name, entry) for name, entry in read_yaml(path).items()}


def _is_there(folder: Path, name: str) -> bool:
    try:
        return (folder / name).exists()
    except (OSError, ValueError):  # a name that no file can have
        return False
