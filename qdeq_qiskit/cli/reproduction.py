"""The tables of a paper, trained and written anew."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from qdeq_qiskit.cli._app import FAILED, DataDir, answers_errors, app, complain, make_console
from qdeq_qiskit.cli._listing import listing
from qdeq_qiskit.recipes import RecipeError

MOST_LISTED = 5


@app.command()
@answers_errors
def reproduce(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A reproduction recipe, name or path; none to list those shipped."),
    ] = None,
    tables: Annotated[
        list[str] | None, typer.Option("--table", metavar="T", help="Only this table; may be given again.")
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Seeds of each row [default: the recipe's, table by table].")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Bundled digits and few epochs: minutes, and numbers that mean nothing.")
    ] = False,
    no_training: Annotated[
        bool, typer.Option("--no-training", help="Write the tables from the runs that are finished.")
    ] = False,
    page: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page about the tables, too, with its pictures.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Its folder, new or to go on in [default: runs/reproduce-NAME].")
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A running dask scheduler, such as tcp://10.0.0.1:8786.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of the local cluster [default: one per CPU].")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Train every row of a paper's tables, and write the tables; the same command again goes on."""
    if recipe is None:
        make_console().print(listing(["reproductions"]))
        return
    if scheduler is not None and workers is not None:
        raise RecipeError("reproduce: --workers is for the local cluster; a scheduler has its own")
    from qdeq_qiskit.reproduction.recipe import ReproductionRecipe

    # Before what trains is imported, which takes longer.
    ReproductionRecipe.load(recipe).chosen(tuple(tables or ()), Path(recipe).stem)
    from qdeq_qiskit.reproduction.page import write_page
    from qdeq_qiskit.reproduction.reproducing import reproduce as go_on

    console = make_console()
    reproduced = go_on(
        recipe,
        tables=tables or (),
        seeds=seeds,
        quick=quick,
        training=not no_training,
        out=out,
        data_dir=data_dir,
        workers=workers,
        scheduler=scheduler,
        console=console,
    )
    folder = reproduced.directory.path
    console.print(f"tables: [bold]{folder / 'table.md'}[/]", soft_wrap=True, highlight=False)
    if page is not None:
        console.print(f"page: [bold]{write_page(page, reproduced)}[/]", soft_wrap=True, highlight=False)
    unfinished = sum(not line.complete for line in reproduced.lines)
    if unfinished and no_training:
        what = f"{unfinished} of {len(reproduced.lines)} rows lack a run or more"
        console.print(f"{what}; without --no-training they are trained", highlight=False)
    if reproduced.failed:
        count = len(reproduced.failed)
        listed = "; ".join(f"{title}: {reason}" for title, reason in reproduced.failed[:MOST_LISTED])
        more = f"; and {count - MOST_LISTED} more" if count > MOST_LISTED else ""
        it = "them" if count > 1 else "it"
        complain(f"{count} task{'s' * (count > 1)} failed: {listed}{more}; the same command tries {it} again")
        raise typer.Exit(FAILED)
