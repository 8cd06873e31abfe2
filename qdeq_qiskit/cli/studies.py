"""Studies of many models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from qdeq_qiskit.cli._app import FAILED, DataDir, answers_errors, app, complain, make_console
from qdeq_qiskit.cli._listing import listing
from qdeq_qiskit.recipes import RecipeError, check_overrides

StudyOverrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the study, e.g. samples=40 or 'seeds=[0, 1]'."),
]


@app.command()
@answers_errors
def study(
    recipe: Annotated[
        str | None, typer.Argument(metavar="STUDY", help="A study recipe, name or path; none to list those shipped.")
    ] = None,
    overrides: StudyOverrides = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New study directory [default: runs/STUDY-NUMBER].")
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="Do what is left of the study in here.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="A running dask scheduler, such as tcp://10.0.0.1:8786.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of the local cluster [default: one per CPU].")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Compare models under noise, shots and mitigation; write a table, figures and a report."""
    if recipe is None and resume is None:
        make_console().print(listing(["studies"]))
        return
    if resume is not None and (recipe is not None or out is not None or overrides):
        raise RecipeError("study: --resume goes on as the study was begun; leave out STUDY, --out and --set")
    if scheduler is not None and workers is not None:
        raise RecipeError("study: --workers is for the local cluster; a scheduler has its own")
    if recipe is not None:  # before what runs studies is imported, which takes longer
        from qdeq_qiskit.studies.recipe import StudyRecipe

        check_overrides(overrides or ())
        StudyRecipe.load(recipe, overrides or [])
    from qdeq_qiskit.studies.study import resume_study, run_study

    console = make_console()
    where: dict[str, Any] = {"data_dir": data_dir, "workers": workers, "scheduler": scheduler, "console": console}
    if resume is not None:
        finished = resume_study(resume, **where)
    else:
        assert recipe is not None
        finished = run_study(recipe, overrides=overrides or (), out=out, **where)
    console.print(f"report: [bold]{finished.directory.report}[/]", soft_wrap=True, highlight=False)
    if finished.missing:
        listed = "; ".join(f"{title}: {reason}" for title, reason in finished.missing[:5])
        more = f"; and {len(finished.missing) - 5} more" if len(finished.missing) > 5 else ""
        count = len(finished.missing)
        complain(
            f"{count} task{'s' * (count > 1)} failed: {listed}{more}; `qdeq study --resume {finished.directory.path}` "
            f"tries {'them' if count > 1 else 'it'} again"
        )
        raise typer.Exit(FAILED)
