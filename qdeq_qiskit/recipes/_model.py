"""A recipe model, ready to check mappings and to explain what it refuses."""

from __future__ import annotations

from functools import cached_property
from typing import Any, final

from pydantic import TypeAdapter

_MOST_KEPT = 32
_kept: dict[int, Model] = {}


@final
class Model:
    """A pydantic model, or annotated union of models; `Model.of` keeps those in use, whose schemas take a while.

    Attributes:
        type: the model.
        adapter: what checks mappings.
    """

    def __init__(self, type_: Any) -> None:
        self.type = type_
        self.adapter: TypeAdapter[Any] = TypeAdapter(type_)

    @classmethod
    def of(cls, type_: Any) -> Model:
        """The model of a type; unions have no hash, so they are known by their identity."""
        known = _kept.get(id(type_))
        if known is None:
            if len(_kept) >= _MOST_KEPT:
                _kept.clear()
            known = _kept[id(type_)] = cls(type_)  # which holds the type, so that its identity stays its own
        return known

    @cached_property
    def schema(self) -> dict[str, Any]:
        """Its JSON schema."""
        try:
            return self.adapter.json_schema()
        except Exception:  # a type without a JSON schema costs the suggestion, never the message
            return {}
