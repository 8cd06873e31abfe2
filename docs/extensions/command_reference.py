"""The reference of the `qdeq` command, as Markdown, from the command itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from qdeq_qiskit.cli import app

_HEAD = """# The command

Every command and option of `qdeq`, as the command itself gives them. What goes wrong is told on standard error, in one
line. The exit code is 0 if all went well, 2 if something that was given is wrong, 130 after an interruption, and 1 for
a fault of the library.
"""


def command_page() -> str:
    """The page of all commands, in the order of `qdeq --help`."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("qdeq", [], resilient_parsing=True)
    sections = [_HEAD, "```text", "qdeq --version", "qdeq COMMAND --help", "```"]
    for name in group.list_commands(context):
        sections += _section(name, group.get_command(context, name), context)
    return "\n".join(sections) + "\n"


def _section(name: str, command: Any, parent: Any) -> Iterator[str]:
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    shown = [param for param in command.params if not getattr(param, "hidden", False)]
    usage = [piece.strip("{}") for param in command.params for piece in param.get_usage_pieces(context)]
    yield from ("", f"## {name}", "", " ".join((command.help or "").split()), "")
    yield from ("```text", " ".join(["qdeq", name, *usage, "[OPTIONS]"]), "```", "")
    yield from ("| | |", "|---|---|")
    for param in shown:
        record = param.get_help_record(context)
        written, meaning = record if record else (param.metavar or param.name, param.help or "")
        written = re.sub(r" <(str|path)>", "", written)
        written = re.sub(r"<(int|float)( range)?>", "N", written)
        meaning = re.sub(r"\s*\[(required|x>=\d+)\]", "", meaning).strip()
        meaning = re.sub(r"(--[a-z][a-z-]+)", r"`\1`", meaning)  # two hyphens are no dash
        yield f"| `{_cell(written)}` | {_cell(meaning)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
