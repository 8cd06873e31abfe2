"""Where recipes stand, and which of them a name means."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ._errors import RecipeError
from ._words import choices, shown
from ._yaml import read_yaml

SUFFIXES = (".yaml", ".yml")
KINDS = ("training", "circuits", "backends", "noise", "studies", "reproductions")


@dataclass(frozen=True)
class RecipeEntry:
    """One recipe in a list.

    Attributes:
        kind: the folder that it stands in, one of `KINDS`.
        name: what it is called by.
        path: its file.
        description: its own line about itself.
    """

    kind: str
    name: str
    path: Path
    description: str


def find(kind: str, name_or_path: str | Path, *, base: Path | None = None) -> Path:
    """The file of a recipe.

    A path is looked up from `base` (the folder of the recipe that refers to it), from the working directory, and,
    for something like `backends/shots.yaml`, among the shipped recipes.

    Raises:
        RecipeError: there is no such file; the message names the nearest recipes.
    """
    text = str(name_or_path)
    shipped = {path.stem: path for path in _files(kind)}
    if text in shipped:
        return shipped[text]
    try:
        return _found(kind, text, base, shipped)
    except (OSError, ValueError, RuntimeError) as error:  # a name that is too long, has a NUL, or a ~ of nobody
        if isinstance(error, RecipeError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise RecipeError(
            f"{shown(text)} cannot be the name of a file ({reason}); {_listing(kind, text, shipped)}"
        ) from None


def list_recipes(kind: str) -> list[RecipeEntry]:
    """The shipped recipes of a kind, by name."""
    entries = []
    for path in _files(kind):
        description = read_yaml(path).get("description", "")
        entries.append(RecipeEntry(kind, path.stem, path, " ".join(str(description).split())))
    return entries


def folder(kind: str) -> Path:
    """Where the recipes of a kind stand: inside the installed package, or at the top of the repository."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_recipes" / kind
    return installed if installed.is_dir() else package.parent / kind


def singular(kind: str) -> str:
    """One recipe of a kind: a circuit recipe, a study recipe."""
    return {"studies": "study"}.get(kind, kind[:-1] if kind.endswith("s") else kind)


def _found(kind: str, text: str, base: Path | None, shipped: dict[str, Path]) -> Path:
    path = Path(text).expanduser()
    listing = _listing(kind, path.stem, shipped)
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        for candidate in [path] if base is None else [base / path, path]:
            if candidate.is_file():
                return candidate
        if path.parts[:-1] == (kind,) and path.stem in shipped and not path.exists():
            return shipped[path.stem]
        reason = "does not exist"
        if path.exists():
            reason = f"is {'a folder' if path.is_dir() else 'no regular file'}, not a file"
        name = text if len(text) <= 200 else shown(text)
        raise RecipeError(f"{name}: this {singular(kind)} recipe {reason}; {listing}")
    beside = (Path(f"{text}{suffix}") for suffix in SUFFIXES)
    hint = next((f"for the file here, write {path}; " for path in beside if path.is_file()), "")
    others = [singular(other) for other in KINDS if other != kind and text in {file.stem for file in _files(other)}]
    hint += f"a {others[0]} recipe has that name; " if others else ""
    raise RecipeError(f"there is no {singular(kind)} recipe named {shown(text)}; {hint}{listing}")


def _listing(kind: str, text: str, shipped: dict[str, Path]) -> str:
    if not shipped:
        return "none are shipped; expected the path of a YAML file"
    return choices(text, sorted(shipped), "the shipped ones are", more=f"`qdeq recipes {kind}`")


def _files(kind: str) -> list[Path]:
    return sorted((path for path in folder(kind).glob("*") if path.suffix in SUFFIXES), key=_in_reading_order)


def _in_reading_order(path: Path) -> list[tuple[str, int]]:
    """What sorts a name before those that it begins, and 2 before 10."""
    return [(word, int(number or 0)) for word, number in re.findall(r"(\D+)(\d*)", path.stem)]
