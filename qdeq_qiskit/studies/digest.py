"""A short name for what a result depends on."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import BaseModel


def digest(content: Any) -> str:
    """A hash of recipes, mappings, lists and scalars, the same in every process and on every machine.

    Of a recipe it is about what differs from the defaults, and not about its description: an option that a later
    version adds leaves the hash of a recipe that does not use it as it was.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=_plain).encode()).hexdigest()[:24]


def _plain(value: Any) -> Any:
    if not isinstance(value, BaseModel):
        return str(value)
    fields = type(value).model_fields
    chosen = {name: getattr(value, name) for name in fields if name != "description"}
    changed = {name: entry for name, entry in chosen.items() if entry != fields[name].get_default()}
    return {"": type(value).__name__, **changed, **(value.model_extra or {})}
