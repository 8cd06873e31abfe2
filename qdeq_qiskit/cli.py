"""The `qdeq` command: fit, evaluate, report, recipes, info.

Whatever a user gets wrong is answered in one line on standard error, with exit code 2. Heavy libraries are imported
inside the commands, so that `qdeq --help` is quick.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, ParamSpec

import typer
from rich.console import Console
from rich.table import Table

from qdeq_qiskit import __version__
from qdeq_qiskit.recipes import KINDS, RecipeError, list_recipes

P = ParamSpec("P")
USER_ERROR, INTERRUPTED = 2, 130

app = typer.Typer(
    name="qdeq",
    help="Quantum Deep Equilibrium Models on Qiskit: train, evaluate, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the recipe, e.g. optimisation.epochs=20."),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Folder with the data set's files [default: $QDEQ_DATA_DIR]."),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


def main() -> None:
    """Run the command line."""
    app()


def _answers_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a user can get wrong into one line and exit code 2; a fault of ours keeps its traceback."""

    @wraps(command)
    def answering(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with _warnings_as_lines():
                command(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            _complain(str(interrupt) or "interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except (RecipeError, OSError) as error:
            _complain(str(error))
        except Exception as error:
            if not _is_users(error):
                raise
            _complain(str(error))
        else:
            return
        raise typer.Exit(USER_ERROR)

    return answering


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"qdeq_qiskit {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
@_answers_errors
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
    from qdeq_qiskit.training.fit import fit as begin
    from qdeq_qiskit.training.fit import resume as go_on
    from qdeq_qiskit.training.recipe import TrainingRecipe
    from qdeq_qiskit.training.run_directory import RunDirectory

    console = _console()
    if resume is not None:
        RunDirectory.open(resume)  # before its recipe is looked for
        given = TrainingRecipe.load(recipe or resume / "recipe.yaml", changes) if recipe or changes else None
        directory = go_on(resume, recipe=given, data_dir=data_dir, console=console)
    else:
        assert recipe is not None
        directory = begin(
            TrainingRecipe.load(recipe, changes), name=Path(recipe).stem, out=out, data_dir=data_dir, console=console
        )
    console.print(_summary(directory.result()))
    console.print(f"report: [bold]{directory.report}[/]", soft_wrap=True, highlight=False)


@app.command()
@_answers_errors
def evaluate(
    run: Run,
    backend: Annotated[
        str | None, typer.Option(metavar="RECIPE", help="Backend recipe, name or path [default: the run's own].")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="Test images to use [default: all; 48 on a sampled backend].")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Test a trained model, on its own backend or on another one."""
    from qdeq_qiskit.training.evaluate_run import evaluate_run

    console = _console()
    console.print(evaluate_run(run, backend=backend, samples=samples, data_dir=data_dir, console=console).table())


@app.command()
@_answers_errors
def report(run: Run, data_dir: DataDir = None) -> None:
    """Write a run's report.html anew."""
    from qdeq_qiskit.training.fit import rewrite_report

    _console().print(f"report: [bold]{rewrite_report(run, data_dir=data_dir)}[/]", soft_wrap=True, highlight=False)


@app.command()
@_answers_errors
def recipes(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help="training, circuits, backends, noise or studies.")] = None,
) -> None:
    """List the recipes, one line each."""
    if kind is not None and kind not in KINDS:
        raise RecipeError(f"recipes: {kind!r} is not a kind of recipe; expected {', '.join(KINDS)}")
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for chosen in [kind] if kind else KINDS:
        table.add_row(f"[dim]{chosen}/[/]", "")
        for entry in list_recipes(chosen):
            table.add_row(f"  {entry.name}", entry.description)
    _console().print(table)


@app.command()
@_answers_errors
def info() -> None:
    """Show versions, devices, and the engine that would be used."""
    from qdeq_qiskit.environment import describe_environment

    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, text in describe_environment():
        table.add_row(name, text)
    _console().print(table)


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
        row("layers", f"{result['mean_iterations']:.0f}")
    row("training steps", f"{result['steps']:,} of {result['ms_per_step']:.2f} ms")
    row("whole training", f"{result['seconds']:.1f} s, with validation and checkpoints")
    row("best epoch", f"{result['best_epoch']} of {result['epochs']}")
    row("seed", str(result["seed"]))
    return table


def _is_users(error: Exception) -> bool:
    """Whether an error is one that the libraries below raise on purpose, with a message for the user."""
    # Looked up only now: these modules import torch and Qiskit.
    from qdeq_qiskit.models import ModelFileError
    from qdeq_qiskit.training.errors import DataError, RunError, SetupError, TrainingError

    return isinstance(error, DataError | RunError | SetupError | TrainingError | ModelFileError)


def _complain(message: str) -> None:
    typer.echo(f"qdeq: {' '.join(message.split())}", err=True)


def _console() -> Console:
    console = Console()
    # A pipe has no width; tables are for reading, also in a log.
    return console if console.is_terminal else Console(width=110)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Warnings as one line each, instead of with the line of code that they came from."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


if __name__ == "__main__":
    main()
