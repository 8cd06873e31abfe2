"""The keys that recipes take, as the models themselves say it."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ._model import Model
from ._schema import Node, members, resolved
from ._words import shown

_NAMES = {"integer": "whole number", "number": "number", "boolean": "true/false", "string": "text", "null": "null"}


@dataclass(frozen=True)
class KeyEntry:
    """One key of a recipe.

    Attributes:
        key: with those above it; `[kind=...]` stands for one of several forms, `[]` for each entry of a list.
        type: what it holds.
        default: what stands for it where it is left out; None if it is required.
        description: what it means.
    """

    key: str
    type: str
    default: str | None
    description: str


def keys_of(model: Any, *, closed: Collection[str] = ()) -> list[KeyEntry]:
    """Every key of a recipe model, or annotated union of models, in the order in which they are declared.

    Args:
        model: the model.
        closed: keys whose own keys are left out, being those of another kind of recipe.
    """
    schema = Model.of(model).schema
    definitions = schema.get("$defs", {})
    entries = _keys("", schema, definitions, ())
    return [entry for entry in entries if not any(entry.key.startswith((f"{key}.", f"{key}[")) for key in closed)]


def options_of(key: str, kinds: Mapping[str, Any]) -> list[KeyEntry]:
    """The options of named kinds, each a dataclass whose docstring says what its attributes are."""
    entries = []
    for kind, option_class in kinds.items():
        text = inspect.getdoc(option_class) or ""
        entries.append(KeyEntry(f"{key}[kind={kind}]", "kind", None, text.split("\n")[0]))
        for option in dataclasses.fields(option_class):
            described = re.search(rf"^    {option.name}: (.*(?:\n     .*)*)", text, re.MULTILINE)
            meaning = " ".join(described[1].split()) if described else ""
            entries.append(
                KeyEntry(f"{key}[kind={kind}].{option.name}", str(option.type), shown(option.default), meaning)
            )
    return entries


def _keys(prefix: str, node: Node, definitions: Node, above: tuple[str, ...]) -> Iterator[KeyEntry]:
    node = resolved(node, definitions)
    forms = [form for form in members(node, definitions) if form.get("properties")]
    for form in forms:
        title = str(form.get("title", ""))
        if title in above:  # a model that holds itself
            continue
        kind = form["properties"].get("kind", {}).get("const") if len(forms) > 1 else None
        here = f"{prefix}[kind={kind}]" if kind else prefix
        required = form.get("required", ())
        if kind:
            yield KeyEntry(here, "kind", None, _first_line(form))
        for name, field in form["properties"].items():
            key = f"{here}.{name}" if here else name
            if name == "kind" and kind:
                continue
            target = resolved(field, definitions)
            default = None if name in required else _default(field)
            yield KeyEntry(key, _type(target, definitions), default, str(field.get("description", "")))
            yield from _keys(key, target, definitions, (*above, title))
    if node.get("type") == "array" and isinstance(node.get("items"), dict):
        yield from _keys(f"{prefix}[]", node["items"], definitions, above)
    elif not forms:
        for option in node.get("anyOf", ()):
            if option.get("type") == "array":
                yield from _keys(prefix, option, definitions, above)


def _type(node: Node, definitions: Node) -> str:
    options = [_single(resolved(form, definitions), definitions) for form in members(node, definitions)]
    return " or ".join(dict.fromkeys(options))


def _single(node: Node, definitions: Node) -> str:
    if "enum" in node:
        return ", ".join(map(str, node["enum"]))
    if "const" in node:
        return str(node["const"])
    if node.get("type") == "array":
        items = node.get("items")
        return f"list of {_type(resolved(items, definitions), definitions)}" if isinstance(items, dict) else "list"
    if node.get("properties") or node.get("type") == "object":
        return "mapping"
    kind = _NAMES.get(str(node.get("type")), "anything")
    bounds = [
        f"{sign} {node[name]:g}"
        for name, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<"))
        if name in node
    ]
    return f"{kind} {' and '.join(bounds)}" if bounds else kind


def _default(field: Node) -> str:
    value = field.get("default")
    return "defaults of its keys" if isinstance(value, dict) else shown(value)


def _first_line(form: Node) -> str:
    return " ".join(str(form.get("description", "")).split("\n\n")[0].split())
