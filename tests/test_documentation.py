"""The documentation agrees with the code and with itself: links, pages, commands, recipes, Python, docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from qdeq_qiskit import recipes
from qdeq_qiskit.cli import app

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
GENERATED = ("reference/api/", "reference/recipes/", "reference/command/")
# Kinds that these pages write themselves, as examples of how one is added.
OWN_KINDS = ("dense_angle", "heavy_ball", "statevector")
# Files that pages have the reader write.
OWN_FILES = re.compile(r"(?<![\w/])(?!(?:circuits|backends|noise|training|studies|reproductions)/)[\w/-]+\.yaml")


def pages() -> list[Path]:
    written = [page for page in sorted(DOCS.rglob("*.md")) if "_build" not in page.parts]
    return [page for page in written if not page.relative_to(DOCS).as_posix().startswith(GENERATED)]


PAGES = [ROOT / "README.md", *pages()]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def each(paths: list[Path]) -> Any:
    return pytest.mark.parametrize("page", paths, ids=[path.relative_to(ROOT).as_posix() for path in paths])


def text_of(page: Path) -> str:
    if page.suffix != ".ipynb":
        return page.read_text(encoding="utf-8")
    cells = json.loads(page.read_text(encoding="utf-8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```|`[^`\n]*`", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}[^\n]*\n(.*?)^```", text_of(page), flags=re.DOTALL | re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """What GitHub and MyST make of headings: small letters and hyphens."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE), re.M)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


@each([*PAGES, *NOTEBOOKS])
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(text_of(page))):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        assert other.is_file(), f"{page.name} links to {target}"
        assert other.is_relative_to(ROOT)
        assert not anchor or anchor in anchors(other), f"{page.name} links to {target}; there is no such heading"


def toctree_entries(page: Path) -> Iterator[str]:
    for body in re.findall(r"^```\{toctree\}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        lines = [line.strip() for line in body.splitlines() if line.strip() and not line.startswith(":")]
        yield from ((page.parent / line).relative_to(DOCS).as_posix() for line in lines)


def test_every_page_is_in_the_contents_and_every_entry_is_a_page() -> None:
    entries = {entry for page in pages() for entry in toctree_entries(page)} - {"tutorials/*"}
    written = {page.relative_to(DOCS).with_suffix("").as_posix() for page in pages()}
    assert written - entries == {"index"}
    assert {entry for entry in entries - written if not entry.startswith(GENERATED)} == set()


@each(PAGES)
def test_python_in_pages_is_python(page: Path) -> None:
    for code in blocks(page, "python"):
        ast.parse(code)


def command_lines(page: Path) -> Iterator[list[str]]:
    """The arguments of each `qdeq ...` that a page shows, without those that stand for something."""
    shell = "\n".join(blocks(page, "bash")).replace("\\\n", " ")
    lines = [part for line in shell.splitlines() for part in re.split(r"; |&& | \| ", line)]
    lines += re.findall(
        r"`(qdeq [^`\s]+ [^`]*)`", re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
    )
    for line in lines:
        found = re.match(r"(?:do )?(?:QDEQ_\w+=\S+ )?qdeq ([a-z].*)", line.strip())
        if found and not re.search(r"\[[-A-Z]|\\\||\.\.\.|\b[NS]\b", line):
            yield shlex.split(re.sub(r"\$\w+", "0", found[1]), comments=True)


def parsed(arguments: list[str]) -> tuple[str, dict[str, Any]]:
    group: Any = typer.main.get_command(app)
    name, *rest = arguments
    assert name in group.commands, f"there is no command qdeq {name}"
    return name, group.commands[name].make_context(name, rest).params


@each(PAGES)
def test_commands_in_pages_are_understood(page: Path) -> None:
    for arguments in command_lines(page):
        try:
            parsed(arguments)
        except Exception as error:
            pytest.fail(f"{page.name}: qdeq {shlex.join(arguments)}: {error}")


def test_commands_are_found_in_pages() -> None:
    names = {arguments[0] for page in PAGES for arguments in command_lines(page)}
    assert names == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def load(name: str, options: dict[str, Any]) -> None:
    """Whatever recipes a command names, with what it changes in them."""
    from qdeq_qiskit.backends import load_backend
    from qdeq_qiskit.noise import NoiseRecipe
    from qdeq_qiskit.reproduction import ReproductionRecipe
    from qdeq_qiskit.studies import StudyRecipe
    from qdeq_qiskit.training import TrainingRecipe

    changes = list(options.get("overrides") or ())
    if name == "fit" and options["recipe"]:
        TrainingRecipe.load(options["recipe"], changes)
    elif name == "study" and options["recipe"]:
        StudyRecipe.load(options["recipe"], changes)
    elif name == "reproduce" and options["recipe"]:
        ReproductionRecipe.load(options["recipe"]).chosen(tuple(options["tables"] or ()), options["recipe"])
    elif options.get("backend"):
        load_backend(options["backend"], changes)
    if options.get("noise"):
        NoiseRecipe.load(options["noise"])


@each(PAGES)
def test_recipes_that_commands_name_and_change_are_there(page: Path) -> None:
    for arguments in {tuple(arguments) for arguments in command_lines(page)}:
        line = shlex.join(arguments)
        words = set(arguments) & {"RECIPE", "STUDY", "NAME", "OTHER"}
        if words or OWN_FILES.search(line) or any(kind in line for kind in OWN_KINDS):
            continue
        try:
            load(*parsed(list(arguments)))
        except ValueError as error:
            pytest.fail(f"{page.name}: qdeq {line}: {error}")


def kind_of(data: Any) -> str | None:
    keys = set(data) if isinstance(data, dict) else set()
    if "extends" in keys:
        return next(
            kind for kind in recipes.KINDS if data["extends"] in {entry.name for entry in recipes.list_recipes(kind)}
        )
    telling = {
        "reproductions": "tables",
        "studies": "models",
        "training": "data",
        "circuits": "num_qubits",
        "noise": "sources",
        "backends": "kind",
    }
    return next((kind for kind, key in telling.items() if key in keys), None)


@each(PAGES)
def test_recipes_in_pages_are_valid(page: Path, tmp_path: Path) -> None:
    from qdeq_qiskit.backends import AnyBackend
    from qdeq_qiskit.circuits import CircuitRecipe
    from qdeq_qiskit.noise import NoiseRecipe
    from qdeq_qiskit.reproduction import ReproductionRecipe
    from qdeq_qiskit.studies import StudyRecipe
    from qdeq_qiskit.training import TrainingRecipe
    from qdeq_qiskit.training.recipe import REFERENCES

    models = {
        "reproductions": (ReproductionRecipe, {}),
        "studies": (StudyRecipe, {}),
        "training": (TrainingRecipe, REFERENCES),
        "circuits": (CircuitRecipe, {}),
        "noise": (NoiseRecipe, {}),
        "backends": (AnyBackend, {"noise": "noise"}),
    }
    for text in blocks(page, "yaml"):
        kind = kind_of(yaml.safe_load(text))
        if kind is None or any(own in text for own in OWN_KINDS) or OWN_FILES.search(text):
            continue
        (tmp_path / "shown.yaml").write_text(text, encoding="utf-8")
        model, references = models[kind]
        recipes.load(kind, tmp_path / "shown.yaml", model, references=references)


@pytest.fixture
def extensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """What makes the pages of the reference; Sphinx is not needed for it."""
    monkeypatch.syspath_prepend(str(DOCS / "extensions"))


@pytest.mark.usefixtures("extensions")
def test_every_public_name_has_a_docstring() -> None:
    api = importlib.import_module("api_pages")
    for package in api.PACKAGES:
        module = importlib.import_module(f"qdeq_qiskit.{package}")
        assert module.__doc__, package
        for name in api.public_names(module):
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isroutine(inspect.unwrap(thing)):
                inherited = [base.__doc__ for base in getattr(thing, "__mro__", ())[1:]]
                assert thing.__doc__, f"qdeq_qiskit.{package}.{name} has no docstring"
                assert thing.__doc__ not in inherited, f"qdeq_qiskit.{package}.{name} has only its base's docstring"


@pytest.mark.usefixtures("extensions")
def test_the_reference_has_every_package_command_and_key() -> None:
    from qdeq_qiskit.training import TrainingRecipe

    index = (DOCS / "reference" / "index.md").read_text(encoding="utf-8")
    for package in importlib.import_module("api_pages").PACKAGES:
        assert f"api/{package}\n" in index
    page = importlib.import_module("command_reference").command_page()
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        section = page.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert all(param.opts[0].upper() in section.upper() for param in command.params)
    made = importlib.import_module("recipe_reference").recipe_pages()
    assert all(f"recipes/{name.removesuffix('.md')}\n" in index for name in made)
    assert all(f"| `{key}` |" in made["training.md"] for key in TrainingRecipe.model_fields)


def test_the_sites_requirements_are_pinned_and_none_is_one_of_the_librarys() -> None:
    def pins(name: str) -> dict[str, str]:
        lines = (ROOT / name).read_text().splitlines()
        return dict(line.split("==") for line in lines if line and not line.startswith("#"))  # type: ignore[misc]

    assert not {name.lower() for name in pins("requirements-docs.txt")} & {
        name.lower() for name in pins("requirements.txt")
    }


@pytest.mark.slow
def test_the_figures_of_the_explanations_can_be_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    importlib.import_module("figures").main(tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    shown = {name for page in PAGES for name in re.findall(r"images/([\w-]+\.png)", text_of(page))}
    assert len(drawn) == 4
    assert drawn <= shown
