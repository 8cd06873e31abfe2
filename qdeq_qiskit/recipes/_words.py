"""How messages show values and name alternatives."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

SECRET = re.compile("token|api.?key|password|secret|credential", re.IGNORECASE)
"""Keys whose values no message shows."""

_MOST_LETTERS = 80
_MOST_LISTED = 240  # letters of a list of alternatives
_FEW = 6


def nearest(name: object, valid: Iterable[object], *, cutoff: float = 0.5) -> str | None:
    """The valid name that looks most like `name`, if any does; `cutoff` is the least likeness, from 0 to 1."""
    names = {str(entry).lower(): str(entry) for entry in valid}
    close = difflib.get_close_matches(_text(name).lower()[:200], list(names), n=1, cutoff=cutoff)
    return names[close[0]] if close else None


def choices(name: object, valid: Iterable[object], lead: str, *, more: str = "") -> str:
    """The alternatives to `name`, the nearest first if one is near.

    Args:
        name: what was given.
        valid: what would be right.
        lead: what stands before the list, such as `expected`.
        more: where all of them are found; it is said where the list is too long to be shown.
    """
    options = [str(entry) for entry in valid]
    close = nearest(name, options)
    listed = f"{lead} {_listed(name, options, more)}" if options else "there are no keys here; leave it out"
    return f"did you mean {close!r}? ({listed})" if close else listed


def _listed(name: object, options: list[str], more: str) -> str:
    every = ", ".join(options)
    if len(every) <= _MOST_LISTED:
        return every
    text = _text(name).lower()[:200]
    likely = difflib.get_close_matches(text, options, n=_FEW, cutoff=0.4) or options[:_FEW]
    return f"{', '.join(likely)} and {len(options) - len(likely)} more{f': {more}' if more else ''}"


def shown(value: object) -> str:
    """A value as an error shows it: as YAML has it, and short, whatever it is."""
    if isinstance(value, dict):
        return "a mapping"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    value = str(value) if isinstance(value, Path) else value
    if isinstance(value, list) and (len(value) >= 20 or SECRET.search(_text(value))):
        text = f"a list of {len(value)} entr{'y' if len(value) == 1 else 'ies'}"
    elif isinstance(value, str):
        text = repr(value[: _MOST_LETTERS + 1])
    else:
        text = _text(value)
    return text if len(text) <= _MOST_LETTERS else f"{text[: _MOST_LETTERS - 3]}..."


def _text(value: object) -> str:
    """The value in letters; of an integer that Python does not write out, how long it is."""
    try:
        return value if isinstance(value, str) else repr(value)
    except ValueError:
        return f"an integer of {value.bit_length():,} bits" if isinstance(value, int) else "a very long number"
    except RecursionError:
        return "a value that is nested too deeply"
