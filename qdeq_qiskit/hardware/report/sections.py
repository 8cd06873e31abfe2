"""What a method has to say beside the figures that all have in common, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_LONGEST = 12  # entries of a list that fit into a line of a table
_TITLES = {
    "operators": "The measured operators",
    "bootstrap": "How sure that is",
    "offset": "From the surrogate to circuits",
    "tuning": "Training on the processor",
}


@dataclass(frozen=True)
class Section:
    """A table of a report.

    Attributes:
        title: of the table.
        columns: titles of its columns; none where there is one.
        lines: names, and values in each column.
    """

    title: str
    columns: tuple[str, ...]
    lines: list[tuple[str, list[str]]]

    @classmethod
    def of(cls, title: str, values: Mapping[str, Any]) -> Section:
        """A table of plain values, or of several mappings side by side."""
        parts = {key: value for key, value in values.items() if isinstance(value, dict)}
        if parts and all(value is None or key in parts for key, value in values.items()):
            keys = list(dict.fromkeys(key for part in parts.values() for key in part))
            rows = [(_words(key), [_shown(part.get(key)) for part in parts.values()]) for key in keys]
            return cls(title, tuple(map(_words, parts)), rows)
        plain = {key: value for key, value in values.items() if key not in parts and not _is_long(value)}
        return cls(title, (), [(_words(key), [_shown(value)]) for key, value in plain.items()])


def sections_of(result: Mapping[str, Any]) -> list[Section]:
    """The sections that a solve's result has figures for."""
    return [Section.of(title, result[name]) for name, title in _TITLES.items() if name in result]


def _is_long(value: object) -> bool:
    return isinstance(value, list) and len(value) > _LONGEST


def _words(key: str) -> str:
    return key.replace("_", " ")


def _shown(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return str(value)
