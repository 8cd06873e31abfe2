"""What a key of a recipe may hold, in words, from the JSON schema of the recipe's model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Node = Mapping[str, Any]

_NAMES = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def mappings(node: Node) -> Iterator[str]:
    """The names of the models that a value may be an instance of."""
    if "$ref" in node:
        yield str(node["$ref"]).rsplit("/", 1)[-1]
    for branch in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("prefixItems", ())):
        yield from mappings(branch)
    if isinstance(node.get("items"), dict):
        yield from mappings(node["items"])


def in_words(node: Node, links: Mapping[str, str]) -> str:
    """The type of a value; `links` tells where each model is described.

    Args:
        node: the JSON schema of the value.
        links: for names of models the Markdown that stands for them.
    """
    branches = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    if branches:
        return ", or ".join(dict.fromkeys(in_words(branch, links) for branch in branches))
    if "$ref" in node:
        name = str(node["$ref"]).rsplit("/", 1)[-1]
        return links.get(name, f"`{name}`")
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return ", ".join(f"`{each}`" for each in node["enum"])
    if node.get("type") == "array":
        return _list_in_words(node, links)
    if node.get("type") == "object":
        return "mapping"
    name = _NAMES.get(str(node.get("type")), "anything")
    bounds = " and ".join(f"{sign} {_number(node[key])}" for key, sign in _BOUNDS.items() if key in node)
    return f"{name} {bounds}" if bounds else name


def _list_in_words(node: Node, links: Mapping[str, str]) -> str:
    entries = node.get("prefixItems")
    if entries:
        return f"list [{', '.join(in_words(entry, links) for entry in entries)}]"
    least = node.get("minItems", 0)
    return f"list of: {in_words(node.get('items', {}), links)}{f' (at least {least})' if least else ''}"


def default(node: Node, *, required: bool) -> str:
    """What a key is without being given, as YAML would have it."""
    if required:
        return "(required)"
    value = node.get("default")
    if isinstance(value, dict) and len(value) > 1:
        return "its own defaults" if "kind" not in value else f"kind `{value['kind']}`"
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _number(value: float) -> str:
    power = value.bit_length() - 1 if isinstance(value, int) else 0
    return f"2^{power}" if power > 20 and value == 2**power else f"{value:,}"
