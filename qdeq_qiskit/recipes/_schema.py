"""Where in a model's JSON schema an error of pydantic is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """What an error is about.

    Attributes:
        keys: its location, without the tags that pydantic puts in for unions.
        parent: the schema of the mapping that holds the last key.
        node: the schema of the value.
    """

    keys: tuple[str, ...]
    parent: Node
    node: Node

    @property
    def name(self) -> str:
        """The last key."""
        return self.keys[-1] if self.keys else ""

    @property
    def fields(self) -> Node:
        """The keys that there are beside it."""
        return dict(self.parent.get("properties", {}))


def walk(schema: Node, loc: Sequence[str | int]) -> Place:
    """The place of a location in errors."""
    definitions = schema.get("$defs", {})
    node = parent = resolved(schema, definitions)
    keys: list[str] = []
    for part in loc:
        if isinstance(part, str) and part not in node.get("properties", {}):
            branch = _branch(node, part, definitions)
            if branch is not None:
                node = branch
                continue
        keys.append(str(part))
        parent = node
        node = _not_null(resolved(_below(node, part), definitions), definitions)
    options = [resolved(option, definitions) for option in node.get("anyOf", ())]
    last = next((option for option in options if option.get("type") != "null"), node)
    return Place(tuple(keys), parent, last)


def resolved(node: Node, definitions: Node) -> Node:
    """A schema itself, in place of a reference to it."""
    while "$ref" in node:
        node = definitions.get(str(node["$ref"]).rsplit("/", 1)[-1], {})
    return node


def members(node: Node, definitions: Node) -> Iterator[Node]:
    """The members of a union, resolved; the node alone if it is none."""
    options = node.get("oneOf", node.get("anyOf"))
    if options is None:
        yield node
        return
    for option in options:
        yield from members(resolved(option, definitions), definitions)


def _not_null(node: Node, definitions: Node) -> Node:
    """What may stand where null may stand, too; pydantic does not count null as a member of a union."""
    options = [resolved(option, definitions) for option in node.get("anyOf", ())]
    others = [option for option in options if option.get("type") != "null"]
    return {**node, **others[0]} if len(others) == 1 < len(options) else node


def _below(node: Node, part: str | int) -> Node:
    if isinstance(part, int):
        prefix = node.get("prefixItems", [])
        return dict(prefix[part] if part < len(prefix) else node.get("items") or {})
    further = node.get("additionalProperties")
    fallback = further if isinstance(further, dict) else {}
    return dict(node.get("properties", {}).get(part, fallback))


def _branch(node: Node, tag: str, definitions: Node) -> Node | None:
    """The member of a union that pydantic calls `tag`; None if the node is no union or has no such member."""
    reference = node.get("discriminator", {}).get("mapping", {}).get(tag)
    if reference is not None:
        return resolved({"$ref": reference}, definitions)
    types = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "none": "null"}
    tag = "object" if tag.startswith("dict[") else tag.removeprefix("constrained-")
    for option in node.get("oneOf", node.get("anyOf", ())):
        member = resolved(option, definitions)
        names = {member.get("title"), member.get("properties", {}).get("kind", {}).get("const"), member.get("const")}
        listed = tag.startswith("literal[") and ("enum" in member or "const" in member)
        if listed or tag in names or member.get("type") == types.get(tag, tag):
            return member
        if tag.startswith((f"{member.get('type')}[", "function-", "tuple[", "list[")):
            return member
    return None
