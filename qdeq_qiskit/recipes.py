"""Recipes: the YAML files that say what is built, read and checked in one place.

A recipe is named by its file's stem (`qdeq fit digits`) or by a path. Reading never executes code. Whatever is wrong
with one is a `RecipeError` of one sentence: the file, the key, the value, what would be right, and for a misspelt
name the nearest valid one.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError

SUFFIXES = (".yaml", ".yml")
MAX_BYTES = 1_000_000
SECRET = re.compile("token|api.?key|password|secret|credential", re.IGNORECASE)
"""Keys whose values no message shows."""
KINDS = ("training", "circuits", "backends", "noise", "studies")
# Keys whose value is a file beside the recipe that names it.
_FILE_KEYS = ("calibration",)


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the file, the key, the value, and what would be right.

    It is one line of printable characters, whatever stood in the file.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message))


@dataclass(frozen=True)
class RecipeEntry:
    """One recipe in a list.

    Attributes:
        kind: the folder that it stands in, one of `KINDS`.
        name: what it is called by.
        path: its file.
        description: its own line about itself.
    """

    kind: str
    name: str
    path: Path
    description: str


def load(
    kind: str,
    name_or_path: str | Path,
    model: Any,
    *,
    overrides: str | Sequence[str] = (),
    references: Mapping[str, str] | None = None,
) -> Any:
    """Read a recipe, apply overrides, and check it.

    Args:
        kind: the recipe folder to look in, one of `KINDS`.
        name_or_path: a recipe's name, or the path of a YAML file.
        model: the pydantic model, or annotated union of models, that the recipe must satisfy.
        overrides: `"a.b=c"` each, or a single one; c is parsed as YAML. Entries of a list go by their number, from 0.
        references: keys that may name another recipe instead of holding it, and that recipe's kind:
            `{"backend": "backends", "backend.noise": "noise", "runs.*": "training"}`, where `*` is every entry of a
            list or mapping. A name is looked up beside the file that it stands in. The other recipe is put in its
            place before overrides go deeper into it.

    Returns:
        An instance of `model`.

    Raises:
        RecipeError: the file, a key or a value is wrong.
    """
    path = find(kind, name_or_path)
    changes = [overrides] if isinstance(overrides, str) else list(overrides)
    tree = _tree(path, changes, references or {})
    try:
        return _validate(tree, model)
    except RecipeError as error:
        other = _look(tree.data)
        if other not in (None, kind):
            instead = f"this looks like a {_singular(str(other))} recipe, not a {_singular(kind)} recipe"
            # Its keys, each of them unknown here, explain nothing.
            raise RecipeError(f"{path}: {instead}" if "unknown key" in str(error) else f"{error}; {instead}") from None
        blamed = _to_blame(path, changes, references or {}, model)
        if not blamed or str(error).startswith("--set"):
            raise
        _validate(_tree(path, blamed, references or {}), model, blamed=" ".join(map(_as_typed, blamed)))
        raise


def check(data: Any, model: Any, *, source: str) -> Any:
    """Check a mapping that is already in memory as a recipe; `source` is what errors call it."""
    return _validate(_Tree(data, origin=source), model)


def find(kind: str, name_or_path: str | Path, *, base: Path | None = None) -> Path:
    """The file of a recipe.

    A path is looked up from `base` (the folder of the recipe that refers to it), from the working directory, and,
    for something like `backends/shots.yaml`, among the shipped recipes.
    """
    text = str(name_or_path)
    beside = (Path(f"{text}{suffix}") for suffix in SUFFIXES)
    hint = next((f"for the file here, write {path}; " for path in beside if path.is_file()), "")
    shipped = {path.stem: path for path in _files(kind)}
    path = Path(text).expanduser()
    if path.suffix in SUFFIXES or len(path.parts) > 1:
        for candidate in [path] if base is None else [base / path, path]:
            if candidate.is_file():
                return candidate
        if path.parts[:-1] == (kind,) and path.stem in shipped and not path.exists():
            return shipped[path.stem]
        reason = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise RecipeError(f"{text}: this {_singular(kind)} recipe {reason}; {_listing(path.stem, shipped)}")
    if text in shipped:
        return shipped[text]
    others = [_singular(other) for other in KINDS if other != kind and text in {file.stem for file in _files(other)}]
    hint += f"a {others[0]} recipe has that name; " if others else ""
    raise RecipeError(f"there is no {_singular(kind)} recipe named {text!r}; {hint}{_listing(text, shipped)}")


def list_recipes(kind: str) -> list[RecipeEntry]:
    """The shipped recipes of a kind, by name."""
    entries = []
    for path in _files(kind):
        description = read_yaml(path).get("description", "")
        entries.append(RecipeEntry(kind, path.stem, path, " ".join(str(description).split())))
    return entries


def folder(kind: str) -> Path:
    """Where the recipes of a kind stand: inside the installed package, or at the top of the repository."""
    package = Path(__file__).resolve().parent
    installed = package / "_recipes" / kind
    return installed if installed.is_dir() else package.parent / kind


def dump(recipe: BaseModel) -> str:
    """A recipe as YAML, every default written out; `load` reads it back to an equal one."""
    return yaml.safe_dump(_plain(recipe.model_dump()), sort_keys=False, allow_unicode=True, width=100)


def nearest(name: object, valid: Iterable[object]) -> str | None:
    """The valid name that looks most like `name`, if any does."""
    names = {str(entry).lower(): str(entry) for entry in valid}
    close = difflib.get_close_matches(str(name).lower(), list(names), n=1, cutoff=0.5)
    return names[close[0]] if close else None


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """`"a.b=c"` as (("a", "b"), c), where c is parsed as YAML."""
    name, separator, value = text.partition("=")
    key = tuple(part.strip() for part in name.split("."))
    if not separator or not all(key):
        raise RecipeError(f"{_as_typed(text)}: expected key=value, for example --set seed=3")
    try:
        return key, yaml.load(value, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{_as_typed(text)}: the value is not YAML: {_yaml_problem(error)}") from None


def _as_typed(text: str) -> str:
    """An override as it was given, but for what may be a credential."""
    if SECRET.search(text):
        name, separator, _ = text.partition("=")
        text = f"{name}=..." if separator else "..."
    return f"--set {text}"


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file, every key a string; nothing is executed, and duplicate keys are refused."""
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise RecipeError(f"{path}: is {size:,} bytes long; a recipe is at most {MAX_BYTES:,}")
        data = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: is not a text file in UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, RecipeError):
            raise
        raise RecipeError(f"{path}: is not valid YAML: {_yaml_problem(error)}") from None
    if not isinstance(data, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, not {_shown(data)}")
    return data


def _tree(path: Path, overrides: Iterable[str], references: Mapping[str, str]) -> _Tree:
    """A file's mapping with overrides applied and references put in."""
    # What stands above goes first: only then is there something below.
    patterns = {
        tuple(key.split(".")): kind for key, kind in sorted(references.items(), key=lambda it: it[0].count("."))
    }
    tree = _Tree(_read(path), origin=str(path), base=path.parent)
    for text in overrides:
        key, value = parse_override(text)
        above = {pattern: kind for pattern, kind in patterns.items() if len(pattern) < len(key)}
        _expand(tree, above, within=key)
        tree.set(key, value, origin=_as_typed(text), base=path.parent)
    _expand(tree, patterns)
    return tree


def _read(path: Path) -> dict[str, Any]:
    """A file's mapping, with the files that it names found from where it stands."""

    def found(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: found(name, entry) for name, entry in value.items()}
        if isinstance(value, list):
            return [found("", entry) for entry in value]
        if key in _FILE_KEYS and isinstance(value, str) and (path.parent / value).is_file():
            return str((path.parent / value).absolute())
        return value

    return {name: found(name, entry) for name, entry in read_yaml(path).items()}


def _to_blame(path: Path, overrides: list[str], references: Mapping[str, str], model: Any) -> list[str]:
    """As few overrides as make a recipe invalid; none if it is invalid by itself."""

    def valid(chosen: list[str]) -> bool:
        try:
            _validate(_tree(path, chosen, references), model)
        except RecipeError:
            return False
        return True

    if not overrides or not valid([]):
        return []
    needed = list(overrides)
    for position in reversed(range(len(overrides))):
        fewer = needed[:position] + needed[position + 1 :]
        if not valid(fewer):
            needed = fewer
    return needed


def _look(data: Any) -> str | None:
    """The kind of recipe that a mapping looks like."""
    keys = set(data) if isinstance(data, dict) else set()
    for kind, telling in _TELLING.items():
        if telling <= keys:
            return kind
    return None


_TELLING = {
    "training": {"data", "backend"},
    "circuits": {"encoder"},
    "noise": {"sources"},
    "studies": {"models", "noise"},
    "backends": {"kind"},
}


def _plain(value: Any) -> Any:
    """Mappings, lists and scalars only. Not pydantic's JSON mode, which writes null for an infinite number."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(entry) for entry in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


class _Loader(yaml.SafeLoader):
    """YAML's safe subset, without aliases (they can blow up) and duplicate keys (one of the two would be ignored)."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.constructor.ConstructorError(
                None, None, "a recipe has no aliases (*name)", self.peek_event().start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key, str) or key_node.tag != "tag:yaml.org,2002:str":
                problem = f"keys are words, not {_shown(key)}"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


# YAML 1.1, which PyYAML reads, takes 5e-3 for a word; YAML 1.2 and everybody who writes it mean a number.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


class _Tree:
    """A recipe's mapping, and for each part of it where it was written (for errors) and from which folder."""

    def __init__(self, data: Any, *, origin: str, base: Path | None = None) -> None:
        self.data = data
        self.origins: dict[tuple[str, ...], str] = {(): origin}
        self.bases: dict[tuple[str, ...], Path | None] = {(): base}

    def set(self, key: tuple[str, ...], value: Any, *, origin: str, base: Path) -> None:
        """Put `value` under `key`; mappings on the way are made where they are missing."""
        node = self.data
        for depth, part in enumerate(key):
            where = ".".join(key[:depth])
            if isinstance(node, list) and not (part.isdecimal() and int(part) < len(node)):
                raise RecipeError(
                    f"{origin}: {where} is a list of {len(node)} entries, numbered from 0; there is no {part!r}"
                )
            if not isinstance(node, dict | list):
                raise RecipeError(f"{origin}: {where} is {_shown(node)}, it has no keys below it")
            place: Any = int(part) if isinstance(node, list) else part
            if depth == len(key) - 1:
                node[place] = value
            elif isinstance(node, dict) and part not in node:
                node[place] = {}
                self.origins[key[: depth + 1]] = origin
            node = node[place]
        for places in (self.origins, self.bases):
            for below in [known for known in places if known[: len(key)] == key]:
                del places[below]
        self.origins[key] = origin
        self.bases[key] = base

    def named(
        self, pattern: tuple[str, ...], within: tuple[str, ...] | None = None
    ) -> Iterator[tuple[tuple[str, ...], str]]:
        """The keys that match a pattern and hold a word, and the word; with `within`, only those above that key."""
        found: list[tuple[tuple[str, ...], Any]] = [((), self.data)]
        for depth, part in enumerate(pattern):
            deeper = [(key, name, node) for key, holder in found for name, node in _entries(holder)]
            wanted = part if within is None else within[depth]
            found = [
                ((*key, name), node) for key, name, node in deeper if part in ("*", name) and wanted in ("*", name)
            ]
        return ((key, node) for key, node in found if isinstance(node, str))

    def origin(self, loc: Sequence[Any]) -> tuple[str, int]:
        """Where the part at `loc` was written, and how many leading keys that place takes for granted."""
        length = self._nearest(self.origins, loc)
        return self.origins[tuple(loc[:length])], length

    def base(self, loc: Sequence[str]) -> Path | None:
        """The folder from which names at `loc` are looked up."""
        return self.bases[tuple(loc[: self._nearest(self.bases, loc)])]

    def _nearest(self, places: Mapping[tuple[str, ...], Any], loc: Sequence[Any]) -> int:
        return next((length for length in range(len(loc), -1, -1) if tuple(loc[:length]) in places), 0)


def _entries(node: Any) -> Iterator[tuple[str, Any]]:
    """What a mapping or list holds, by name or number."""
    if isinstance(node, dict):
        yield from node.items()
    elif isinstance(node, list):
        yield from ((str(number), entry) for number, entry in enumerate(node))


def _expand(tree: _Tree, references: Mapping[tuple[str, ...], str], within: tuple[str, ...] | None = None) -> None:
    """Put the recipes that are referred to by name in place of their names; with `within`, those above that key."""
    for pattern, kind in references.items():
        for key, name in list(tree.named(pattern, within)):
            try:
                path = find(kind, name, base=tree.base(key))
            except RecipeError as error:
                raise RecipeError(f"{tree.origin(key)[0]}: {'.'.join(key)}: {error}") from None
            tree.set(key, _read(path), origin=str(path), base=path.parent)


def _validate(tree: _Tree, model: Any, *, blamed: str | None = None) -> Any:
    """The checked recipe; `blamed` stands in errors for the file."""
    adapter = TypeAdapter(model)
    try:
        return adapter.validate_python(tree.data)
    except ValidationError as error:
        raise RecipeError(_sentence(error, tree, adapter, blamed)) from None
    except RecursionError:
        raise RecipeError(f"{tree.origin(())[0]}: is nested too deeply") from None


def _sentence(error: ValidationError, tree: _Tree, adapter: TypeAdapter[Any], blamed: str | None) -> str:
    """The one error that explains the others: a misspelt key before the missing one, the deepest before its union."""
    errors = error.errors(include_url=False)
    first = min(errors, key=lambda entry: (entry["type"] != "extra_forbidden", -len(entry["loc"])))
    try:
        schema: dict[str, Any] = adapter.json_schema()
    except Exception:  # a type without a JSON schema costs the suggestion, never the message
        schema = {}
    keys, parent, node = _walk(schema, first["loc"])
    origin, taken = (blamed, 0) if blamed else tree.origin(keys)
    from_command = origin.startswith("--set")
    where = ".".join(keys if from_command else keys[taken:])
    prefix = f"{origin}: {where}" if where else origin
    further = _mistakes(errors, schema) - 1
    others = f" ({further} further error{'s' * (further > 1)})" if further > 0 else ""
    return f"{prefix}: {_remedy(first, keys, parent, node)}{others}"


def _mistakes(errors: Sequence[Any], schema: Mapping[str, Any]) -> int:
    """How many mistakes lie behind the errors: what fails in each branch of a union is one, a list that is short of
    entries only because they are wrong is none, and a key that is missing because it is misspelt is none.
    """
    within = {tuple(error["loc"][:length]) for error in errors for length in range(len(error["loc"]))}
    real = [error for error in errors if not (error["type"] == "too_short" and tuple(error["loc"]) in within)]
    places = {tuple(_walk(schema, error["loc"])[0]): error["type"] for error in real}
    misspelt = [place for place, kind in places.items() if kind == "extra_forbidden"]
    missing = {place for place, kind in places.items() if kind == "missing"}
    meant = {
        place
        for place in missing
        if any(place[:-1] == other[:-1] and nearest(other[-1], [place[-1]]) for other in misspelt)
    }
    return len(places) - len(meant)


def _remedy(error: Any, keys: list[str], parent: Mapping[str, Any], node: Mapping[str, Any]) -> str:
    """What is wrong with the value, and what would be right; `node` is its schema and `parent` that of its mapping."""
    kind, value, context = error["type"], error["input"], error.get("ctx", {})
    fields = parent.get("properties", {})
    if kind == "extra_forbidden":
        given = "" if any(map(SECRET.search, keys)) else f" (value {_shown(value)})"
        return f"unknown key {keys[-1]!r}{given}; {_choices(keys[-1], fields, 'the keys here are')}"
    if kind == "missing":
        field = fields.get(keys[-1], {})
        meaning = field.get("description")
        return "this key is missing" + (f"; it says: {meaning}" if meaning else "")
    if kind in ("literal_error", "enum"):
        options = re.findall(r"'([^']*)'", str(context.get("expected", ""))) or [str(context.get("expected"))]
        return f"{_shown(value)} is not valid; {_choices(value, options, 'expected')}"
    if kind == "union_tag_invalid":
        options = re.findall(r"'([^']*)'", str(context.get("expected_tags", "")))
        key = str(context.get("discriminator", "kind")).strip("'")
        return f"{key} is {_shown(context.get('tag'))}; {_choices(context.get('tag'), options, 'expected')}"
    if kind == "union_tag_not_found":
        key = str(context.get("discriminator", "kind")).strip("'")
        options = list(node.get("discriminator", {}).get("mapping", {}))
        if isinstance(value, dict):
            return f"the key {key!r} is missing; {_choices('', options, 'expected')}"
        return f"{_shown(value)} is not valid; expected a mapping{_example(value, node)}"
    if kind in ("model_type", "model_attributes_type", "dict_type", "dataclass_type"):
        return f"{_shown(value)} is not valid; expected a mapping{_example(value, node)}"
    if kind in ("tuple_type", "list_type"):
        example = ", such as [0, 3]" if node.get("items", {}).get("type") == "integer" else ""
        return f"{_shown(value)} is not valid; expected a list{example}"
    if kind == "string_pattern_mismatch" and fields.get(keys[-1], {}).get("description"):
        return f"{_shown(value)} is not valid; it says: {fields[keys[-1]]['description']}"
    if kind in ("too_short", "string_too_short"):
        least, what = context["min_length"], "entr" if kind == "too_short" else "character"
        ending = ("y" if least == 1 else "ies") if kind == "too_short" else "s" * (least > 1)
        return f"{_shown(value)} is not valid; expected at least {least} {what}{ending}"
    if kind in ("too_long", "string_too_long"):
        what = "entries" if kind == "too_long" else "characters"
        return f"{_shown(value)} is not valid; expected at most {context['max_length']} {what}"
    if kind == "value_error":
        message = _message(context.get("error", error["msg"]))
        return message if isinstance(value, dict) else f"{_shown(value)} is not valid: {message}"
    expected = re.sub(r"^Input should be ", "expected ", error["msg"])
    if str(value).lstrip("+-.").lower() in ("nan", "inf", "infinity"):
        bound = f" greater than {node['exclusiveMinimum']:g}" if "exclusiveMinimum" in node else ""
        expected = f"expected a finite number{bound}"
    return f"{_shown(value)} is not valid; {expected}"


def _message(error: Any) -> str:
    """What a validator says; of a model's error that it passed on, what that says."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        return _message(first.get("ctx", {}).get("error") or first["msg"])
    return str(error)


def _example(value: Any, node: Mapping[str, Any]) -> str:
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
    fits = not isinstance(value, bool) and isinstance(value, types.get(first.get("type"), ()))
    shown = value if fits else first.get("default", "...")
    return f", such as {{{names[0]}: {shown}}}"


def _walk(
    schema: Mapping[str, Any], loc: Sequence[str | int]
) -> tuple[list[str], Mapping[str, Any], Mapping[str, Any]]:
    """The keys of a location without the tags that pydantic puts in for unions, the schema that holds the last, and
    the last one's own.
    """
    definitions = schema.get("$defs", {})
    node = parent = _resolved(schema, definitions)
    keys: list[str] = []
    for part in loc:
        if isinstance(part, str) and part not in node.get("properties", {}):
            branch = _branch(node, part, definitions)
            if branch is not None:
                node = branch
                continue
        keys.append(str(part))
        parent = node
        if isinstance(part, int):
            node = _resolved(node.get("items", {}), definitions)
        else:
            node = _resolved(node.get("properties", {}).get(part, {}), definitions)
    options = [_resolved(option, definitions) for option in node.get("anyOf", ())]
    return keys, parent, next((option for option in options if option.get("type") != "null"), node)


def _branch(node: Mapping[str, Any], tag: str, definitions: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The member of a union that pydantic calls `tag`; None if the node is no union or has no such member."""
    reference = node.get("discriminator", {}).get("mapping", {}).get(tag)
    if reference is not None:
        return _resolved({"$ref": reference}, definitions)
    types = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "none": "null"}
    tag = "object" if tag.startswith("dict[") else tag
    for option in node.get("oneOf", node.get("anyOf", ())):
        member = _resolved(option, definitions)
        names = {member.get("title"), member.get("properties", {}).get("kind", {}).get("const"), member.get("const")}
        if tag in names or member.get("type") == types.get(tag, tag) or tag.startswith(f"{member.get('type')}["):
            return member
    return None


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        node = definitions.get(str(node["$ref"]).rsplit("/", 1)[-1], {})
    return node


def _choices(name: object, valid: Iterable[object], lead: str) -> str:
    options = [str(entry) for entry in valid]
    close = nearest(name, options)
    listed = f"{lead} {', '.join(options)}" if options else "there are no keys here"
    return f"did you mean {close!r}? ({listed})" if close else listed


def _listing(name: str, shipped: Mapping[str, Path]) -> str:
    return _choices(name, sorted(shipped), "the shipped ones are") if shipped else "none are shipped"


def _files(kind: str) -> list[Path]:
    return sorted(path for path in folder(kind).glob("*") if path.suffix in SUFFIXES)


def _singular(kind: str) -> str:
    return {"studies": "study"}.get(kind, kind[:-1] if kind.endswith("s") else kind)


def _shown(value: object) -> str:
    """A value as an error shows it: short, whatever it is."""
    if isinstance(value, dict):
        return "a mapping"
    value = str(value) if isinstance(value, Path) else value
    if isinstance(value, list) and (len(value) >= 20 or SECRET.search(repr(value))):
        text = f"a list of {len(value)} entr{'y' if len(value) == 1 else 'ies'}"
    else:
        text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _yaml_problem(error: BaseException) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{problem} (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else str(problem)
