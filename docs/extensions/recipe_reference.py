"""The reference of recipes, as Markdown, from the models that check them: a page for each kind of recipe."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter
from recipe_types import default, in_words, mappings

from qdeq_qiskit.backends import AnyBackend
from qdeq_qiskit.circuits import CircuitRecipe
from qdeq_qiskit.equilibrium import ADJOINTS, PENALTIES, SOLVERS
from qdeq_qiskit.models import PenaltySchedule
from qdeq_qiskit.noise import NoiseRecipe
from qdeq_qiskit.recipes import list_recipes
from qdeq_qiskit.reproduction import ReproductionRecipe
from qdeq_qiskit.studies import StudyRecipe
from qdeq_qiskit.training import TrainingRecipe

ROOTS: dict[str, Any] = {
    "training": TrainingRecipe,
    "circuits": CircuitRecipe,
    "backends": AnyBackend,
    "noise": NoiseRecipe,
    "studies": StudyRecipe,
    "reproductions": ReproductionRecipe,
}
_TITLES = {
    "training": "Training recipes",
    "circuits": "Circuit recipes",
    "backends": "Backend recipes",
    "noise": "Noise recipes",
    "studies": "Study recipes",
    "reproductions": "Reproduction recipes",
}
_COMMANDS = {
    "training": "`qdeq fit RECIPE` takes one.",
    "circuits": "The key `circuit` of a training recipe names one.",
    "backends": "The key `backend` of a training recipe and the option `--backend` name one.",
    "noise": "The key `noise` of a noisy backend and the option `--noise` name one.",
    "studies": "`qdeq study RECIPE` takes one.",
    "reproductions": "`qdeq reproduce RECIPE` takes one.",
}
_EXTENDS = (
    "Besides the keys below, a file may have `extends`: the name of another recipe of this kind, or the path of its",
    "file, from which everything is taken that is [not said here](../../how-to/write-a-recipe.md).",
)
_CHOICES = {"SolverChoice": "solver", "AdjointChoice": "adjoint", "PenaltyChoice": "penalty"}
_HEADER = ("| key | type | default | meaning |", "|---|---|---|---|")


def recipe_pages() -> dict[str, str]:
    """The pages by their file names: one for each kind of recipe, one for solvers, adjoints and penalties."""
    home: dict[str, str] = {}
    roles: dict[str, str] = {}
    definitions: dict[str, Any] = {}
    for kind in ("circuits", "noise", "backends", "training", "studies", "reproductions"):
        schema = TypeAdapter(ROOTS[kind]).json_schema()
        definitions |= schema.get("$defs", {}) | ({schema["title"]: schema} if "properties" in schema else {})
        for name, key in _reached(schema, definitions).items():
            home.setdefault(name, kind)
            roles.setdefault(name, key or kind.removesuffix("s"))
    called = {name: _called(definitions[name], role) for name, role in roles.items()}
    pages = {f"{kind}.md": _page(kind, home, called, definitions) for kind in ROOTS}
    return pages | {"solvers.md": _registries_page()}


def _reached(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, str]:
    """The models that a recipe leads to, each before those that it leads to, and the key that leads to each."""
    found: dict[str, str] = {}

    def visit(name: str, key: str) -> None:
        if name not in found and name not in _CHOICES and name in definitions:
            found[name] = key
            for further, node in definitions[name].get("properties", {}).items():
                for below in mappings(node):
                    visit(below, further)

    for name in [schema["title"]] if "properties" in schema else mappings(schema):
        visit(name, "")
    return found


def _page(kind: str, home: Mapping[str, str], called: Mapping[str, str], definitions: Mapping[str, Any]) -> str:
    lines = [f"# {_TITLES[kind]}", "", _COMMANDS[kind], "", f"## Shipped in `{kind}/`", "", "| name | |", "|---|---|"]
    lines += [f"| `{entry.name}` | {_cell(entry.description)} |" for entry in list_recipes(kind)]
    lines += ["", *_EXTENDS]
    links = {name: f"[{what}](#recipe-{name.lower()})" for name, what in called.items()}
    links |= {name: f"[{what}](#recipe-{what})" for name, what in _CHOICES.items()}
    for name in (name for name, where in home.items() if where == kind):
        lines += _section(name, called[name], definitions[name], links)
    return "\n".join(lines) + "\n"


def _called(schema: Mapping[str, Any], role: str) -> str:
    """What a model is called in recipes: its kind where it has one, after what it is a kind of."""
    constant = schema["properties"].get("kind", {}).get("const")
    return f"{role.removesuffix('s')} `{constant}`" if constant else f"`{schema['title']}`"


def _section(name: str, called: str, schema: Mapping[str, Any], links: Mapping[str, str]) -> Iterator[str]:
    yield from ("", f"(recipe-{name.lower()})=", "", f"## {called}", "")
    yield from (markdown(schema.get("description", "")), "")
    yield from _table(schema, links)


def _table(schema: Mapping[str, Any], links: Mapping[str, str]) -> Iterator[str]:
    """The keys of a model, a line each."""
    yield from _HEADER
    for key, node in schema["properties"].items():
        if "const" in node:
            yield f"| `{key}` | `{node['const']}` | | Tells this kind from the others. |"
            continue
        meaning = _cell(node.get("description", ""))
        required = key in schema.get("required", ())
        yield f"| `{key}` | {_cell(in_words(node, links))} | {_cell(default(node, required=required))} | {meaning} |"


_REGISTRIES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("Solvers", "solver", SOLVERS),
    ("Adjoints", "adjoint", ADJOINTS),
    ("Penalties", "penalty", PENALTIES),
)


def _registries_page() -> str:
    lines = ["# Solvers, adjoints and penalties", ""]
    lines += ["Each is a mapping with a `kind` and the options of that kind; `{kind: newton}` is enough."]
    for title, what, registry in _REGISTRIES:
        lines += ["", f"(recipe-{what})=", "", f"## {title}", "", f"The key `model.{what}` of a training recipe."]
        for kind, implementation in registry.items():
            lines += ["", f"### {what} `{kind}`", ""]
            lines += _registered(implementation)
        if what == "penalty":
            lines += ["", "Each takes `weight` besides, the factor of the penalty in the loss: 0.8 if left out; and"]
            lines += ["`schedule`, a mapping that says how this weight changes over the epochs:", ""]
            lines += _table(PenaltySchedule.model_json_schema(), {})
    return "\n".join(lines) + "\n"


def _registered(implementation: Any) -> Iterator[str]:
    text = inspect.getdoc(implementation) or ""
    body, meanings = _attributes(text)
    yield from (markdown(body), "")
    options = dataclasses.fields(implementation)
    if not options:
        yield "No options."
        return
    yield from _HEADER
    hints = typing.get_type_hints(implementation)
    for option in options:
        shown = re.sub(r"\b(typing|collections\.abc)\.", "", inspect.formatannotation(hints[option.name]))
        shown = shown.replace("float", "number").replace("int", "integer").replace("None", "null").replace("|", "or")
        value = option.default
        default_text = "" if value is dataclasses.MISSING else f"`{_as_yaml(value)}`"
        yield f"| `{option.name}` | {_cell(shown)} | {default_text} | {_cell(meanings.get(option.name, ''))} |"


def _as_yaml(value: Any) -> str:
    names = {None: "null", True: "true", False: "false"}
    if isinstance(value, tuple):
        return f"[{', '.join(map(_as_yaml, value))}]"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return f"{'-' if value < 0 else ''}.inf"
    return names[value] if value is None or isinstance(value, bool) else str(value)


def _attributes(text: str) -> tuple[str, dict[str, str]]:
    """A docstring without its section of attributes, and what that says of each."""
    body, _, section = text.partition("\nAttributes:\n")
    meanings: dict[str, str] = {}
    for line in section.splitlines():
        start = re.match(r"    (\w+): (.*)", line)
        if start:
            meanings[start[1]] = start[2]
        elif line.startswith("     ") and meanings:
            meanings[list(meanings)[-1]] += " " + line.strip()
        elif line.strip():
            break
    return body.strip(), meanings


def markdown(text: str) -> str:
    r"""A docstring's prose as Markdown: \(…\) becomes $…$, and what Markdown would take for markup is escaped."""
    parts = re.split(r"(`[^`]*`|\\\(.*?\\\))", inspect.cleandoc(text), flags=re.DOTALL)
    return "".join(_escaped(part) if number % 2 == 0 else _formula(part) for number, part in enumerate(parts))


def _formula(part: str) -> str:
    return part if part.startswith("`") else f"${part[2:-2]}$"


def _escaped(part: str) -> str:
    return re.sub(r"([*_$<])", r"\\\1", part)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
