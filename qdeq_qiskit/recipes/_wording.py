"""Errors of pydantic in the words of this library: the key, the value, and what would be right."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from ._extends import EXTENDS
from ._schema import Node, Place, walk
from ._tree import Tree
from ._words import SECRET, choices, nearest, shown

MOST_PROBLEMS = 5
_MOST_ERRORS = 100  # of a file that is something else, there may be one for each of its keys
_UNKNOWN = "unknown key"
_TYPES = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "a text",
    "path": "the path of a file",
    "list": "a list",
    "tuple": "a list",
    "dict": "a mapping",
    "model": "a mapping",
    "dataclass": "a mapping",
}
_BOUNDS = (
    ("minimum", "at least"),
    ("exclusiveMinimum", "greater than"),
    ("maximum", "at most"),
    ("exclusiveMaximum", "less than"),
)


def sentence(problems: Mapping[tuple[str, ...], str], tree: Tree, blamed: str | None = None) -> str:
    """All of a recipe's problems in one line.

    Args:
        problems: what is wrong at each place.
        tree: the recipe, which knows where each of them was written.
        blamed: stands for the file.
    """
    places = []
    for keys, text in problems.items():
        origin, taken = (blamed, 0) if blamed else tree.origin(keys)
        if text.startswith(_UNKNOWN) and taken == len(keys) and not origin.startswith("--set"):
            origin, taken = tree.origin(keys[:-1])  # not what the key names is wrong, but that it stands there
        where = ".".join(map(_short_key, keys if origin.startswith("--set") else keys[taken:]))
        places.append((origin, f"{where}: {text}" if where else text))
    if len(places) == 1:
        return f"{places[0][0]}: {places[0][1]}"
    origins = {origin for origin, _ in places}
    head = f"{places[0][0]}: " if len(origins) == 1 else ""
    listed = [
        f"({number}) {'' if head else f'{origin}: '}{text}"
        for number, (origin, text) in enumerate(places[:MOST_PROBLEMS], start=1)
    ]
    more = f" and {len(places) - MOST_PROBLEMS} more" if len(places) > MOST_PROBLEMS else ""
    count = f"{len(places)}" if len(places) < _MOST_ERRORS else f"{len(places)} or more"
    return f"{head}{count} problems: {' '.join(listed)}{more}"


def problems_of(error: ValidationError, schema: Node) -> dict[tuple[str, ...], str]:
    """What is wrong at each place: a misspelt key before the missing one, the deepest in place of its union."""
    by_place: dict[tuple[str, ...], list[tuple[Any, Place]]] = {}
    for entry in error.errors(include_url=False)[:_MOST_ERRORS]:
        place = walk(schema, entry["loc"])
        by_place.setdefault(place.keys, []).append((entry, place))
    above = {keys[:length] for keys in by_place for length in range(len(keys))}
    kinds = {keys: {entry["type"] for entry, _ in found} for keys, found in by_place.items()}
    misspelt = [keys for keys, types in kinds.items() if "extra_forbidden" in types]
    meant = {
        keys
        for keys, types in kinds.items()
        if "missing" in types and any(keys[:-1] == other[:-1] and nearest(other[-1], [keys[-1]]) for other in misspelt)
    }
    wanted = [keys for keys in by_place if keys not in above and keys not in meant]
    wanted.sort(key=lambda keys: keys not in misspelt)
    return {keys: _merged(by_place[keys]) for keys in wanted}


def expected_type(kind: str, node: Node) -> str:
    """What a value of a type is expected to be, within the bounds of its schema."""
    bounds = [f"{words} {node[key]:g}" for key, words in _BOUNDS if isinstance(node.get(key), int | float)]
    words = f"{_TYPES[kind]}{', ' + ' and '.join(bounds) if bounds and kind in ('int', 'float') else ''}"
    items = node.get("items") or {}
    whole = kind in ("list", "tuple") and "integer" in [each.get("type") for each in (items, *items.get("anyOf", ()))]
    return f"expected {words}{', such as [0, 3]' if whole else ''}"


def refused(value: object, expected: str) -> str:
    """A value, and what would be right."""
    return f"{shown(value)} is not valid; {expected}"


def _merged(found: Sequence[tuple[Any, Place]]) -> str:
    """One text for what each member of a union finds wrong with a value."""
    if len(found) == 1:
        return _remedy(*found[0])
    texts = list(dict.fromkeys(_remedy(error, place) for error, place in found))
    prefix = refused(found[0][0]["input"], "")
    if not all(text.startswith(prefix) for text in texts):
        return texts[0]
    rights = list(dict.fromkeys(text.removeprefix(prefix).removeprefix("expected ") for text in texts))
    told = rights[0] if rights[0].startswith("did you mean") else f"expected {rights[0]}"
    return prefix + " or ".join([told, *rights[1:]])


def _remedy(error: Any, place: Place) -> str:
    """What is wrong with the value, and what would be right."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    described = place.fields.get(place.name, {}).get("description")
    if kind == "extra_forbidden":
        given = "" if any(map(SECRET.search, place.keys)) else f" (value {shown(value)})"
        if place.name == EXTENDS:
            own = "a recipe extends another one in a file of its own: write it at the top there"
            return f"{_UNKNOWN} {shown(place.name)}{given}; {own}"
        return f"{_UNKNOWN} {shown(place.name)}{given}; {choices(place.name, place.fields, 'the keys here are')}"
    if kind == "missing":
        example = (place.node.get("examples") or [None])[0]
        such = f", such as {'.'.join(place.keys)}={example}" if example else ""
        meaning = f" ({described.removesuffix('.')})" if described else ""
        return f"this key is missing{meaning}; give it{such}"
    if kind in ("literal_error", "enum"):
        options = re.findall(r"'([^']*)'", str(context.get("expected", ""))) or [str(context.get("expected"))]
        return refused(value, choices(value, options, "expected"))
    if kind.startswith("union_tag"):
        return _tag(error, place)
    if kind in ("model_type", "model_attributes_type", "dict_type", "dataclass_type"):
        return refused(value, f"expected a mapping{_example(value, place.node)}")
    if kind in ("too_short", "string_too_short", "too_long", "string_too_long"):
        return refused(value, _length(kind, context))
    if kind == "value_error":
        message = _message(context.get("error", error["msg"]))
        return message if isinstance(value, dict) else f"{shown(value)} is not valid: {message}"
    if kind == "string_pattern_mismatch" and described:
        return refused(value, f"expected {described}")
    return refused(value, _number_or_type(kind, value, error["msg"], place.node))


def _number_or_type(kind: str, value: object, message: str, node: Node) -> str:
    word = kind.split("_")[0]
    if _is_not_finite(value) and word != "string":
        bound = f" greater than {node['exclusiveMinimum']:g}" if "exclusiveMinimum" in node else ""
        return f"expected a finite number{bound}"
    if kind == "int_parsing_size":
        return "expected a whole number of at most 19 digits"
    if kind == "finite_number":
        return "expected a finite number"
    if word in _TYPES:
        return expected_type(word, node)
    return re.sub(r"^Input should be (?=greater|less)", "expected a number ", message).replace(
        "Input should be", "expected"
    )


def _tag(error: Any, place: Place) -> str:
    value, context = error["input"], error.get("ctx", {})
    key = str(context.get("discriminator", "kind")).strip("'")
    if error["type"] == "union_tag_invalid":
        options = re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))
        tag = value.get(key, context.get("tag")) if isinstance(value, dict) else context.get("tag")
        return f"{key} is {shown(tag)}; {choices(tag, options, 'expected')}"
    options = list(place.node.get("discriminator", {}).get("mapping", {}))
    if isinstance(value, dict):
        present = ", ".join(_short_key(str(name)) for name in list(value)[:8])
        meant = nearest(key, value, cutoff=0.7)
        if meant is not None:
            return f"{_UNKNOWN} {shown(meant)}; did you mean {key!r}? (it is one of {', '.join(options)})"
        return (
            f"the key {key!r} is missing; {choices('', options, 'expected')} (the keys there are {present or 'none'})"
        )
    return refused(value, f"expected a mapping{_example(value, place.node)}")


def _length(kind: str, context: Mapping[str, Any]) -> str:
    if kind.endswith("long"):
        return f"expected at most {context['max_length']} {'entries' if kind == 'too_long' else 'characters'}"
    least, what = context["min_length"], "entr" if kind == "too_short" else "character"
    ending = ("y" if least == 1 else "ies") if kind == "too_short" else "s" * (least > 1)
    return f"expected at least {least} {what}{ending}"


def _message(error: Any) -> str:
    """What a validator says; of a model's error that it passed on, what that says."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        inner = _message(first.get("ctx", {}).get("error") or first["msg"])
        if first["type"] != "value_error":
            inner = refused(first["input"], _number_or_type(first["type"], first["input"], first["msg"], {}))
        return f"{where}: {inner}" if where else inner
    return str(error)


def _example(value: Any, node: Node) -> str:
    """A mapping that a schema asks for, with the value that was given in its place where it may be meant so."""
    fields = node.get("properties", {})
    options = list(node.get("discriminator", {}).get("mapping", {}))
    if options:
        return f", such as {{{node['discriminator']['propertyName']}: {nearest(value, options) or options[0]}}}"
    names = [*node.get("required", ()), *fields]
    if not names:
        return ""
    types = {"string": str, "integer": int, "number": int | float}
    first = fields.get(names[0], {})
    fits = not isinstance(value, bool) and isinstance(value, types.get(first.get("type"), ())) and len(str(value)) < 20
    default = first.get("default")
    usual = "..." if default is None or isinstance(default, dict | list) else default
    given = shown(value) if fits and not isinstance(value, str) else value if fits else usual
    return f", such as {{{names[0]}: {given}}}"


def _short_key(key: str) -> str:
    return key if len(key) <= 40 else f"{key[:37]}..."


def _is_not_finite(value: object) -> bool:
    if isinstance(value, str):
        return len(value) < 12 and value.lstrip("+-.").lower() in ("nan", "inf", "infinity")
    return isinstance(value, float) and (value != value or value in (float("inf"), -float("inf")))
