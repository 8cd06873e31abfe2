"""The command itself: how its commands answer what goes wrong, and where they print.

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

from qdeq_qiskit import __version__
from qdeq_qiskit.recipes import RecipeError

P = ParamSpec("P")
FAILED, USER_ERROR, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="qdeq",
    help="Quantum Deep Equilibrium Models on Qiskit: train, evaluate, report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,  # a traceback must not show what a variable holds
    rich_markup_mode=None,
)

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="DIR", help="Folder with the data set's files [default: $QDEQ_DATA_DIR]."),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]


def main() -> None:
    """Run the command line."""
    app()


def answers_errors(command: Callable[P, None]) -> Callable[P, None]:
    """Turn what a user can get wrong into one line and exit code 2; a fault of ours keeps its traceback."""

    @wraps(command)
    def answering(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with _warnings_as_lines():
                command(*args, **kwargs)
        except KeyboardInterrupt as interrupt:
            complain(str(interrupt) or "interrupted")
            raise typer.Exit(getattr(interrupt, "exit_code", INTERRUPTED)) from None
        except RecipeError as error:
            complain(str(error))
        except OSError as error:
            named = error.filename is not None and error.strerror
            complain(f"{error.filename}: {error.strerror}" if named else str(error))
        except Exception as error:
            if _is_interruption(error):
                complain("interrupted")
                raise typer.Exit(INTERRUPTED) from None
            if not _is_users(error):
                raise
            complain(str(error))
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


def refuse_study(path: Path, command: str) -> None:
    """Say where a study's runs are, to whom gives the study for a run."""
    if (path / "study.yaml").is_file() and not (path / "recipe.yaml").is_file():
        raise RecipeError(
            f"{path}: is a study, not a run; its report is {path / 'report.html'}, and `qdeq {command}` takes one of "
            f"the runs in {path / 'runs'}"
        )


@contextmanager
def about(recipe: str | None) -> Iterator[None]:
    """Name the recipe in what is wrong with the data or the model that it asks for, where it is not named yet."""
    try:
        yield
    except Exception as error:
        from qdeq_qiskit.training.errors import DataError, SetupError

        if recipe is None or not isinstance(error, DataError | SetupError) or recipe in str(error):
            raise
        raise type(error)(f"{recipe}: {error}") from error


def complain(message: str) -> None:
    typer.echo(f"qdeq: {' '.join(message.split())}", err=True)


def make_console() -> Console:
    console = Console()
    # A pipe has no width; tables are for reading, also in a log.
    return console if console.is_terminal else Console(width=110)


def _is_users(error: Exception) -> bool:
    """Whether an error is one that the libraries below raise on purpose, with a message for the user."""
    # Looked up only now: these modules import torch and Qiskit.
    from qdeq_qiskit.backends.runtime.errors import HardwareError
    from qdeq_qiskit.models import ModelFileError
    from qdeq_qiskit.training.errors import DataError, RunError, SetupError, TrainingError

    return isinstance(error, DataError | RunError | SetupError | TrainingError | ModelFileError | HardwareError)


def _is_interruption(error: BaseException) -> bool:
    """Whether Ctrl-C is behind it: extensions written in C pass it on as an ImportError."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        if isinstance(link, KeyboardInterrupt):
            return True
        seen.add(id(link))
        link = link.__cause__ or link.__context__
    return False


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Warnings as one line each, instead of with the line of code that they came from."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield
