"""The `qdeq` command: fit, evaluate, study, report, recipes, info.

Whatever a user gets wrong is answered in one line on standard error, with exit code 2. Heavy libraries are imported
inside the commands, so that `qdeq --help` is quick.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
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
FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130

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
StudyOverrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the study, e.g. samples=40 or 'seeds=[0, 1]'."),
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
    _refuse_study(run, "evaluate")
    from qdeq_qiskit.training.evaluate_run import evaluate_run

    console = _console()
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
@_answers_errors
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
        _console().print(_listing(["studies"]))
        return
    if resume is not None and (recipe is not None or out is not None or overrides):
        raise RecipeError("study: --resume goes on as the study was begun; leave out STUDY, --out and --set")
    if scheduler is not None and workers is not None:
        raise RecipeError("study: --workers is for the local cluster; a scheduler has its own")
    from qdeq_qiskit.studies.study import resume_study, run_study

    console = _console()
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
        _complain(
            f"{count} task{'s' * (count > 1)} failed: {listed}{more}; `qdeq study --resume {finished.directory.path}` "
            f"tries {'them' if count > 1 else 'it'} again"
        )
        raise typer.Exit(FAILED)


@app.command()
@_answers_errors
def report(run: Run, data_dir: DataDir = None) -> None:
    """Write a run's report.html anew."""
    _refuse_study(run, "report")
    from qdeq_qiskit.training.fit import rewrite_report

    _console().print(f"report: [bold]{rewrite_report(run, data_dir=data_dir)}[/]", soft_wrap=True, highlight=False)


@app.command()
@_answers_errors
def recipes(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="training, circuits, backends, noise or studies.")
    ] = None,
) -> None:
    """List the recipes, one line each."""
    if kind is not None and kind not in KINDS:
        raise RecipeError(f"recipes: {kind!r} is not a kind of recipe; expected {', '.join(KINDS)}")
    _console().print(_listing([kind] if kind else KINDS))


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


def _refuse_study(path: Path, command: str) -> None:
    """Say where a study's runs are, to whom gives the study for a run."""
    if (path / "study.yaml").is_file() and not (path / "recipe.yaml").is_file():
        raise RecipeError(
            f"{path}: is a study, not a run; its report is {path / 'report.html'}, and `qdeq {command}` takes one of "
            f"the runs in {path / 'runs'}"
        )


def _listing(kinds: Iterable[str]) -> Table:
    """The shipped recipes of some kinds, one line each."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for kind in kinds:
        table.add_row(f"[dim]{kind}/[/]", "")
        for entry in list_recipes(kind):
            table.add_row(f"  {entry.name}", entry.description)
    return table


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
