"""YAML as recipes use it: data only, each key once, numbers that mean what they look like, and bounded in size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ._errors import RecipeError
from ._words import SECRET, shown

MAX_BYTES = 1_000_000
MAX_DEPTH = 40
MAX_VALUES = 60_000
MAX_DIGITS = 400  # more than the largest floating-point number has

# libyaml's parser is some ten times as fast as the one in Python; both are in PyYAML, but for a build without it.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_STRING = "tag:yaml.org,2002:str"


class _Loader(_SafeLoader):
    """YAML's safe subset, without duplicate keys: one of the two would be ignored."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key, str) or key_node.tag != _STRING:
                what = shown(key) if isinstance(key, str) else "a list or a mapping"
                problem = f"keys are words, not {what}; quote it if it is meant to be one"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                problem = f"{shown(key)} is there twice; keep one of them"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_yaml_int(self, node: Any) -> int:
        if len(node.value) > MAX_DIGITS:
            problem = f"a number of {len(node.value):,} digits; expected at most {MAX_DIGITS}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _plain_scalars() -> None:
    """Which plain scalars are no words.

    As YAML 1.1 has it, which PyYAML reads, but for what surprises: 5e-3 is a number, as in YAML 1.2; 010 is none (it is
    eight in the one, ten in the other), nor are 1:30 (ninety) and dates.
    """
    _Loader.yaml_implicit_resolvers = {}
    plain = {
        "bool": (r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
        "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
        "int": (r"[-+]?(0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|0b[01_]+)", "-+0123456789"),
        "float": (
            r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+"
            r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
            "-+.0123456789",
        ),
        "merge": ("<<", "<"),
    }
    for name, (pattern, first) in plain.items():
        _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{name}", re.compile(f"^(?:{pattern})$"), list(first))


_plain_scalars()


def parse(text: str) -> Any:
    """The value of a YAML text.

    Raises:
        ValueError: it is not YAML, or not what a recipe may hold; a line that says where and what to do.
    """
    try:
        _check_shape(text)
        return yaml.load(text, _Loader)  # safe: `_Loader` builds plain data only
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(_problem(error, text)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, every key a string; nothing is executed, and duplicate keys are refused.

    Raises:
        RecipeError: the file cannot be read, is too large, or holds something else.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RecipeError(f"{path}: is {size:,} bytes long; a recipe is at most {MAX_BYTES:,}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: is not a text file in UTF-8; save it as one") from None
    try:
        data = parse(text)
    except ValueError as error:
        raise RecipeError(f"{path}: is not valid YAML: {error}") from None
    if not isinstance(data, dict):
        given = "an empty file" if data is None else shown(data)
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, not {given}; expected key: value lines")
    return data


def _check_shape(text: str) -> None:
    """Refuse what blows up, or is no data, before anything is built of it."""
    depth = values = 0
    for event in yaml.parse(text, _SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _refusal("a recipe has no aliases (*name); write the value out", event)
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
            continue
        if not isinstance(event, yaml.NodeEvent):
            continue
        tag = getattr(event, "tag", None)
        if tag is not None:
            tag = tag.replace("tag:yaml.org,2002:", "!!")
            raise _refusal(f"a recipe has no tags such as {shown(tag)[1:-1]}; leave it out", event)
        values += 1
        depth += isinstance(event, yaml.CollectionStartEvent)
        if depth > MAX_DEPTH:
            raise _refusal(f"nested too deeply; at most {MAX_DEPTH} levels make sense", event)
        if values > MAX_VALUES:
            raise _refusal(f"too many values; expected at most {MAX_VALUES:,}", event)


def _refusal(problem: str, event: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, event.start_mark)


# What is behind the parser's words, most of the time.
_ADVICE = (
    (re.compile("special characters|control characters"), "save it as plain text"),
    (re.compile(r"'\\t'|tab|character that cannot start"), "indent with spaces, and quote texts of special characters"),
    (re.compile("mapping values are not allowed"), "quote a text with ': ' in it, or indent it as its neighbours"),
    (re.compile("another document|single document"), "keep one document (no second ---)"),
    (re.compile("quoted scalar|end of stream"), "close what was opened: a quote, [ or {"),
)


def _problem(error: BaseException, text: str) -> str:
    if isinstance(error, RecursionError):
        return f"nested too deeply; at most {MAX_DEPTH} levels make sense"
    mark = getattr(error, "problem_mark", None)
    if re.search("quoted scalar|flow", str(getattr(error, "context", None))):  # where it was opened tells more
        mark = getattr(error, "context_mark", None) or mark
    lines = str(error).splitlines()
    problem = str(getattr(error, "problem", None) or (lines[0] if lines else "it cannot be parsed"))
    context = getattr(error, "context", None)
    said = f"{context}: {problem}" if context and not isinstance(error, yaml.constructor.ConstructorError) else problem
    if not isinstance(error, yaml.constructor.ConstructorError | ValueError):
        advice = next((words for pattern, words in _ADVICE if pattern.search(said)), "expected key: value lines")
        said = f"{said}; {advice}"
    if isinstance(error, yaml.reader.ReaderError):
        return _located(said, text, text.encode()[: error.position].count(b"\n"), None)
    return said if mark is None else _located(said, text, mark.line, mark.column)


def _located(said: str, text: str, number: int, column: int | None) -> str:
    """A problem with its line, counted from 0, put before what would be right."""
    what, separator, remedy = said.partition("; ")
    lines = text.splitlines()
    line = lines[number].strip() if number < len(lines) else ""
    quoted = f": {line[:60]}{'...' * (len(line) > 60)}" if line and not SECRET.search(line) else ""
    place = f"line {number + 1}" + (f", column {column + 1}" if column is not None else "")
    return f"{what} ({place}{quoted}){separator}{remedy}"
