"""What a message to a user must be, judged without the code that writes it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

import yaml

MOST_LETTERS = 420  # of one problem, without the paths of files in it

REMEDIES = (
    "expected", "did you mean", "choose", "at least", "at most", "there are", "ones are", "keys here are", "Valid are",
    "classes of", "take ", "give ", "leave ", "needs", "need an", "must be", "must fit", "write", "quote ", "keep ",
    "belongs to", "indent", "close ", "save it", "is for", "use ", "set ", "change ", "`qdeq ", "qdeq submit",
    "the largest", "such as", "was to be read from",
)  # fmt: skip
FORBIDDEN = (
    "Traceback", "Input should", "validation error", "pydantic", "https://errors", "Error:", "object at 0x", "<class",
    "Recipe(", "function-", "NoneType", "datetime", "AnyBackend", "qdeq_qiskit.", "None is not", "True is not",
    "False is not", "further error", "[Errno",
)  # fmt: skip

# Parts of a recipe that may be left out, and what may go wrong then.
_SECTIONS: dict[tuple[str | int, ...], tuple[str, ...]] = {
    ("model",): ("features",),
    ("model", "features"): ("features",),
}


def faults(
    message: str, *, sources: Sequence[str], changed: Sequence[tuple[tuple[str | int, ...], str | None]] = ()
) -> list[str]:
    """What is wrong with a message; nothing if it is as it should be.

    Args:
        message: what the user sees, without the command's name before it.
        sources: how the user called the recipe, and what may be named in its place.
        changed: the keys that are wrong, and the YAML that stands there.
    """
    found = []
    if not any(source in message for source in (*sources, "--set")):
        found.append(f"names neither {sources} nor an override")
    found += [f"says {word!r}" for word in FORBIDDEN if word in message]
    if not any(word in message for word in REMEDIES):
        found.append("has no remedy")
    if "\n" in message or not message.isprintable():
        found.append("is not one line of printable characters")
    plain = re.sub(r"(/[\w.-]+)+", "PATH", message)
    problems = re.split(r" \(\d\) ", plain)
    found += [f"has a problem of {len(text)} letters" for text in problems if len(text) > MOST_LETTERS]
    if "is not valid YAML" in message:  # which has lines, no keys
        return found if re.search(r"\(line \d+", message) else [*found, "names no line"]
    if changed and not any(
        _is_named(keys, message) or _is_within(piece, message) or _is_quoted(piece, message) for keys, piece in changed
    ):
        found.append(f"names none of {['.'.join(map(str, keys)) for keys, _ in changed]}")
    if len(changed) == 1:
        keys, piece = changed[0]
        below = f"{'.'.join(map(str, keys))}." in message  # a key of the mapping that was put there is named
        if piece is not None and not below and _is_to_be_shown(keys, piece) and not _is_shown(piece, message):
            found.append(f"does not show {piece[:40]!r}")
    return found


def _is_named(keys: tuple[str | int, ...], message: str) -> bool:
    """Whether the key is there: dotted, or below what is named, or above it (a mapping that something is wrong in)."""
    section = keys[:2] if keys[:2] == ("model", "features") else keys  # whose keys decide together how many there are
    if section in _SECTIONS and any(word in message for word in _SECTIONS[section]):
        return True
    words = [_visible(str(key)).strip()[:30] for key in keys]
    if words[-1] == "kind":  # it decides what the other keys are
        return "key" in message or "kind" in message or ".".join(words[:-1]) in message
    if not words[-1]:  # an empty key
        return "''" in message or ".".join(words[:-1]) in message
    if len(words) == 1 or isinstance(keys[-1], str):
        return words[-1] in message or words[-1].replace("_", "-") in message
    return ".".join(words) in message or words[-2] in message


def _is_within(piece: str | None, message: str) -> bool:
    """Whether the message is about a key of the mapping that was put there."""
    names = re.findall(r"(\w+):", piece or "")
    return any(re.search(rf"\b{name}\b", message) for name in names)


def _is_quoted(piece: str | None, message: str) -> bool:
    """Whether the message has the value that was put there, if that is a word of its own."""
    return piece is not None and len(piece) > 4 and piece.isidentifier() and piece in message


def _is_to_be_shown(keys: tuple[str | int, ...], piece: str) -> bool:
    """Whether the value is what is wrong: no credential, no key as if it were not there, no choice of other keys."""
    if keys == ("circuit",) and piece.startswith("qdeq"):  # its name is gone: it is the circuit that does not fit
        return False
    return "token" not in keys and keys[-1] != "kind" and piece != "null"


def _is_shown(piece: str, message: str) -> bool:
    """Whether the value is there, as YAML or Python writes it, its beginning at least; or a part of what it holds."""
    try:
        value = yaml.safe_load(piece)
    except (yaml.YAMLError, ValueError, RecursionError, KeyError):
        return "YAML" in message
    if isinstance(value, str) and "e" in piece:
        with contextlib.suppress(ValueError):
            value = float(piece)
    if isinstance(value, dict | list):
        return _parts_shown(value, message)
    if len(piece) > 400 and isinstance(value, int):
        return "digits" in message
    forms = {piece, _visible(piece), str(value), repr(value), _visible(str(value)), str(value).lower()}
    if isinstance(value, float | int) and not isinstance(value, bool):
        forms |= {f"{value:g}", f"{value:,}"} if abs(value) < 1e300 else {f"{float('inf'):g}"}
    if value is None or isinstance(value, bool):
        forms |= {str(value).lower(), "null"} if value is None else {str(value).lower()}
    return any(form[:30] in message for form in forms) or "integer of" in message


def _parts_shown(value: object, message: str) -> bool:
    if not value or repr(value)[:30] in message or ("mapping" if isinstance(value, dict) else "list") in message:
        return True
    entries = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return any(
        _parts_shown(entry, message) if isinstance(entry, dict | list) else _as_word(entry) in message.lower()
        for entry in entries
    )


def _as_word(entry: object) -> str:
    return "null" if entry is None else str(entry)[:30].lower()


def _visible(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
