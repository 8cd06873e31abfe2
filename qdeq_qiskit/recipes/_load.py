"""From a recipe's name to the checked recipe, and back to YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from ._errors import RecipeError
from ._exactness import converted
from ._extends import EXTENDS
from ._files import find, singular
from ._model import Model
from ._overrides import as_typed
from ._tree import Tree, grown
from ._wording import problems_of, sentence


def load(
    kind: str,
    name_or_path: str | Path,
    model: Any,
    *,
    overrides: str | Sequence[str] = (),
    references: Mapping[str, str] | None = None,
) -> Any:
    """Read a recipe with what it extends, apply overrides, and check it.

    Args:
        kind: the recipe folder to look in, one of `KINDS`.
        name_or_path: a recipe's name, or the path of a YAML file.
        model: the pydantic model, or annotated union of models, that the recipe must satisfy.
        overrides: `"a.b=c"` each, or a single one; c is parsed as YAML. Entries of a list go by their number, from 0.
        references: keys that may name another recipe instead of holding it, and that recipe's kind:
            `{"backend": "backends", "backend.noise": "noise", "runs.*": "training"}`, where `*` is every entry of a
            list or mapping. A name is looked up beside the file that it stands in. The other recipe is put in its
            place before overrides go deeper into it.

    Returns:
        An instance of `model`.

    Raises:
        RecipeError: the file, a key or a value is wrong.
    """
    path = find(kind, name_or_path)
    changes = [overrides] if isinstance(overrides, str) else list(overrides)
    tree = grown(kind, path, changes, references or {})
    try:
        return _validate(tree, model)
    except RecipeError as error:
        other = _look(tree.data)
        if other not in (None, kind):
            instead = f"this looks like a {singular(str(other))} recipe, not a {singular(kind)} recipe"
            # Its keys, each of them unknown here, explain nothing.
            where = _where(path, tree, str(other))
            raise RecipeError(f"{where}: {instead}" if "unknown key" in str(error) else f"{error}; {instead}") from None
        if "--set " in str(error):  # an override is named already
            raise
        blamed = _to_blame(kind, path, changes, references or {}, model)
        if not blamed:
            raise
        _validate(grown(kind, path, blamed, references or {}), model, blamed=" ".join(map(as_typed, blamed)))
        raise


def check(data: Any, model: Any, *, source: str) -> Any:
    """Check a mapping that is already in memory as a recipe; `source` is what errors call it.

    Raises:
        RecipeError: a key or a value is wrong.
    """
    return _validate(Tree(data, origin=source), model)


def dump(recipe: BaseModel) -> str:
    """A recipe as YAML, every default written out; `load` reads it back to an equal one."""
    return yaml.safe_dump(_plain(recipe.model_dump()), sort_keys=False, allow_unicode=True, width=100)


def _validate(tree: Tree, model: Any, *, blamed: str | None = None) -> Any:
    """The checked recipe; `blamed` stands in errors for the file."""
    known = Model.of(model)
    try:
        result = known.adapter.validate_python(tree.data)
    except ValidationError as error:
        raise RecipeError(sentence(problems_of(error, known.schema), tree, blamed)) from None
    except RecursionError:
        raise RecipeError(f"{tree.origin(())[0]}: is nested too deeply; expected a few levels") from None
    if problems := dict(converted(tree.data, result)):
        raise RecipeError(sentence(problems, tree, blamed))
    return result


def _to_blame(kind: str, path: Path, overrides: list[str], references: Mapping[str, str], model: Any) -> list[str]:
    """As few overrides as make a recipe invalid; none if it is invalid by itself."""

    def valid(chosen: list[str]) -> bool:
        try:
            _validate(grown(kind, path, chosen, references), model)
        except RecipeError:
            return False
        return True

    if not overrides or not valid([]):
        return []
    needed = list(overrides)
    for position in reversed(range(len(overrides))):
        fewer = needed[:position] + needed[position + 1 :]
        if not valid(fewer):
            needed = fewer
    return needed


def _look(data: Any) -> str | None:
    """The kind of recipe that a mapping looks like."""
    keys = set(data) if isinstance(data, dict) else set()
    for kind, telling in _TELLING.items():
        if telling <= keys:
            return kind
    return None


def _where(path: Path, tree: Tree, kind: str) -> str:
    """The file that looks like another kind, if it is not the recipe itself but one that it extends."""
    file = tree.origin((min(_TELLING[kind]),))[0]
    return str(path) if file == str(path) else f"{path}: {EXTENDS}: {file}"


_TELLING = {
    "training": {"data", "backend"},
    "circuits": {"encoder"},
    "noise": {"sources"},
    "studies": {"models", "noise"},
    "reproductions": {"tables"},
    "backends": {"kind"},
}


def _plain(value: Any) -> Any:
    """Mappings, lists and scalars only. Not pydantic's JSON mode, which writes null for an infinite number."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
