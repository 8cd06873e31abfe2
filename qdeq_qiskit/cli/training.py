"""Training a model, testing it, and the report of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from qdeq_qiskit.cli._app import DataDir, Run, about, answers_errors, app, make_console, refuse_study
from qdeq_qiskit.recipes import RecipeError, check_overrides

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe, e.g. optimisation.epochs=20."),
]


@app.command()
@answers_errors
def fit(
    recipe: Annotated[str | None, typer.Argument(metavar="RECIPE", help="A training recipe: name or path.")] = None,
    overrides: Overrides = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, batches and dropout.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="New run directory [default: runs/RECIPE-NUMBER].")
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="DIR", help="Continue the run in this directory.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Train a model and write a run directory with its result and report."""
    if resume is None and recipe is None:
        raise RecipeError("fit: which recipe? `qdeq recipes training` lists them; or --resume DIR to continue a run")
    if resume is not None and out is not None:
        raise RecipeError("fit: --out and --resume exclude each other; a run continues in its own directory")
    changes = [*(overrides or ()), *([f"seed={seed}"] if seed is not None else ())]
    check_overrides(changes)
    # Before what trains is imported, which takes longer.
    from qdeq_qiskit.training.recipe import TrainingRecipe
    from qdeq_qiskit.training.run_directory import RunDirectory

    if resume is not None:
        RunDirectory.open(resume)  # before its recipe is looked for
        given = TrainingRecipe.load(recipe or resume / "recipe.yaml", changes) if recipe or changes else None
    else:
        assert recipe is not None
        given = TrainingRecipe.load(recipe, changes)
    from qdeq_qiskit.training.fit import fit as begin
    from qdeq_qiskit.training.fit import resume as go_on

    console = make_console()
    with about(recipe):
        if resume is not None:
            directory = go_on(resume, recipe=given, data_dir=data_dir, console=console)
        else:
            assert recipe is not None
            assert given is not None
            directory = begin(given, name=Path(recipe).stem, out=out, data_dir=data_dir, console=console)
    console.print(_summary(directory.result()))
    console.print(f"report: [bold]{directory.report}[/]", soft_wrap=True, highlight=False)


@app.command()
@answers_errors
def evaluate(
    run: Run,
    backend: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Backend recipe, name or path [default: the run's own].")
    ] = None,
    noise: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Noise recipe, name or path, instead of a backend.")
    ] = None,
    shots: Annotated[
        int | None, typer.Option(min=1, help="Shots of each circuit, with --noise or ideal [default: exact values].")
    ] = None,
    mitigation: Annotated[
        str | None,
        typer.Option(metavar="HOW", help="matrix, trex, zne, twirling, dd, joined by +; or a mapping. With --noise."),
    ] = None,
    encoder_noise: Annotated[
        bool | None, typer.Option("--encoder-noise/--no-encoder-noise", help="Whether the encoder errs. With --noise.")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Test images to use [default: all; 48 if each circuit must be run].")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Test a trained model, on its own backend and on another one or under noise."""
    refuse_study(run, "evaluate")
    from qdeq_qiskit.training.evaluate_run import evaluate_run

    console = make_console()
    with about(backend or noise):
        comparison = evaluate_run(
            run,
            backend=backend,
            noise=noise,
            shots=shots,
            mitigation=mitigation,
            encoder_noise=encoder_noise,
            samples=samples,
            data_dir=data_dir,
            console=console,
        )
    console.print(comparison.table())


@app.command()
@answers_errors
def report(run: Run, data_dir: DataDir = None) -> None:
    """Write a run's report.html anew, and say where those of its solves on processors are."""
    refuse_study(run, "report")
    from qdeq_qiskit.hardware.solve_folder import SolveFolder
    from qdeq_qiskit.training.fit import rewrite_report

    console = make_console()
    console.print(f"report: [bold]{rewrite_report(run, data_dir=data_dir)}[/]", soft_wrap=True, highlight=False)
    for folder in (each for each in SolveFolder.all_of(run) if each.report.is_file()):
        console.print(f"solve {folder.path.name}: {folder.report}", soft_wrap=True, highlight=False, markup=False)


def _summary(result: dict[str, Any]) -> Table:
    """What came out of a run, as a table."""
    test = result["test"]
    low, high = test["accuracy_interval"]
    table = Table(title="Result", title_justify="left", title_style="bold", show_header=False)
    table.add_column(style="dim")
    table.add_column(justify="right")

    def row(name: str, value: str) -> None:
        table.add_row(name, value)

    row("test accuracy", f"[bold]{test['accuracy']:.1%}[/]  ({low:.1%} – {high:.1%} at 95%)")
    row("logistic regression, same pixels", f"{result['control_accuracy']:.1%}")
    row("validation accuracy", f"{result['valid_accuracy']:.1%}")
    if result["converged_fraction"] is not None:
        row("equilibria found", f"{result['converged_fraction']:.2%} of {test['samples']:,} test images")
        row("median relative residual", f"{result['median_residual']:.1e}")
        row("solver iterations per image", f"{result['mean_iterations']:.1f}")
    else:
        row("median relative residual", "–")
        row("evaluations of the circuit", f"{result['mean_iterations']:.0f}")
    row("training steps", f"{result['steps']:,} of {result['ms_per_step']:.2f} ms")
    row("whole training", f"{result['seconds']:.1f} s, with validation and checkpoints")
    row("best epoch", f"{result['best_epoch']} of {result['epochs']}")
    row("seed", str(result["seed"]))
    return table
