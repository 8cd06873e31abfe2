"""What there is: recipes, versions, devices."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from qdeq_qiskit.cli._app import answers_errors, app, make_console
from qdeq_qiskit.cli._listing import key_listing, listing
from qdeq_qiskit.recipes import KINDS, RecipeError


@app.command()
@answers_errors
def recipes(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="KIND", help="training, circuits, backends, noise, studies or reproductions."),
    ] = None,
    keys: Annotated[bool, typer.Option("--keys", help="List the keys that such a recipe takes instead.")] = False,
) -> None:
    """List the recipes, one line each, or the keys of a kind."""
    if kind is not None and kind not in KINDS:
        raise RecipeError(f"recipes: {kind!r} is not a kind of recipe; expected {', '.join(KINDS)}")
    if keys and kind is None:
        raise RecipeError(f"recipes: --keys are those of one kind; expected {', '.join(KINDS)} before it")
    make_console().print(key_listing(kind) if keys and kind else listing([kind] if kind else KINDS))


@app.command()
@answers_errors
def info() -> None:
    """Show versions, devices, and the engine that would be used."""
    from qdeq_qiskit.environment import describe_environment

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in describe_environment():
        table.add_row(name, text)
    make_console().print(table)
