"""One reproduction, from its recipe to the tables: as often as it takes, and nothing twice."""

from __future__ import annotations

import platform
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from qdeq_qiskit import __version__, recipes
from qdeq_qiskit.files import CannotWriteError
from qdeq_qiskit.reproduction import work
from qdeq_qiskit.reproduction.directory import ORIGIN, ReproductionDirectory
from qdeq_qiskit.reproduction.plan import Plan, check, make_plan, with_runs_there, with_tables_there
from qdeq_qiskit.reproduction.recipe import KIND
from qdeq_qiskit.reproduction.rows import Row
from qdeq_qiskit.reproduction.table import Line, lines_of, task_key
from qdeq_qiskit.reproduction.writing import Tables
from qdeq_qiskit.studies.computing import absolute, check_scheduler, compute
from qdeq_qiskit.training.data.published import chosen_folder
from qdeq_qiskit.training.errors import RunError

if TYPE_CHECKING:
    from qdeq_qiskit.studies.tasks import Outcome, Task

RUNS, CIRCUITS = "runs", "circuits"


@dataclass(frozen=True, eq=False)
class Reproduced:
    """What a reproduction has come to.

    Attributes:
        command: that asked for it, wherever its folder is.
        directory: its folder.
        plan: what was asked for, and the tables that were there before.
        lines: its rows, each with the runs that are finished.
        failed: (title, reason) of the runs and circuits that were asked for and failed.
    """

    command: str
    directory: ReproductionDirectory
    plan: Plan
    lines: list[Line]
    failed: list[tuple[str, str]]


def reproduce(
    name_or_path: str | Path,
    *,
    tables: tuple[str, ...] | list[str] = (),
    seeds: int | None = None,
    quick: bool = False,
    training: bool = True,
    out: Path | None = None,
    data_dir: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    console: Console | None = None,
) -> Reproduced:
    """Train and measure what is missing of a reproduction's tables, and write them.

    The same call goes on where an earlier one was ended, with more tables or seeds too. Nothing is trained before
    everything that the recipe names was found, read and built.

    Args:
        name_or_path: a reproduction recipe.
        tables: names of the tables that are wanted; none for all.
        seeds: how many seeds each row is trained with; None for what the recipe says of the table.
        quick: with the recipe's quick changes.
        training: whether runs that are missing or unfinished are trained; those that are finished are measured anyway.
        out: its folder; None for `runs/reproduce-<name>`, with `-quick` behind it if `quick`.
        data_dir: folder of data that are not bundled.
        workers: processes of the local cluster; None for one per CPU.
        scheduler: address of a running dask scheduler to use instead.
        console: where progress is shown; None for nowhere.

    Raises:
        RecipeError, RunError, DataError, SetupError: something cannot be used; the message says what.
        KeyboardInterrupt: Ctrl-C; the message says how to go on.
    """
    path = recipes.find(KIND, name_or_path)
    plan = make_plan(path, tables=tuple(tables), seeds=seeds, quick=quick)
    folder = out or Path("runs") / f"reproduce-{path.stem}{'-quick' if quick else ''}"
    check_scheduler(scheduler)
    data = absolute(chosen_folder(data_dir))
    directory = ReproductionDirectory(folder.expanduser().resolve())
    directory.check_usable(plan.name, quick=quick)
    plan = with_runs_there(plan, directory)
    shown = with_tables_there(plan, path, directory)
    check(plan, directory, data)
    asked = ["qdeq", "reproduce", str(name_or_path), *(word for name in tables for word in ("--table", name))]
    asked += ["--seeds", str(seeds)] if seeds is not None else []
    asked += ["--quick"] if quick else []
    again = [*asked, "--out", str(out)] if out is not None else asked
    with _made(directory), directory.books.claimed(), _telling_how_to_continue(shlex.join(again)):
        directory.begin(plan.recipe, _origin(plan, directory, data))
        directory.tidy()
        written = Tables(shown, directory)
        with written.at_the_end():
            _compute(plan, directory, data, training, workers, scheduler, console, written)
    return Reproduced(shlex.join(asked), directory, shown, lines_of(shown, directory), _failed(plan, directory))


def _compute(
    plan: Plan,
    directory: ReproductionDirectory,
    data_dir: Path | None,
    training: bool,
    workers: int | None,
    scheduler: str | None,
    console: Console | None,
    written: Tables,
) -> None:
    runs, circuits = plan.in_order(), _circuits(plan)
    totals = {CIRCUITS: len(circuits), RUNS: len(runs)}
    tasks = _tasks(runs, circuits, directory, data_dir, training)
    if not training:
        totals[RUNS] = sum(work.is_trained(directory.run(row.name, seed)) for row, seed in runs)

    def note(outcome: Outcome) -> None:
        if outcome.error is None and console is not None and outcome.task.group == RUNS:
            row, seed = outcome.task.arguments[:2]
            console.print(_news(row, seed, directory, outcome.seconds), highlight=False, markup=False)
        written.refresh()

    compute(
        tasks,
        totals=totals,
        books=directory.books,
        workers=workers,
        scheduler=scheduler,
        console=console,
        on_outcome=note,
    )


def _circuits(plan: Plan) -> dict[str, Row]:
    """Every circuit once, with a row that has it."""
    found: dict[str, Row] = {}
    for planned in plan.rows:
        key = planned.row.circuit_key
        if key is not None:
            found.setdefault(key, planned.row)
    return found


def _tasks(
    runs: list[tuple[Row, int]],
    circuits: dict[str, Row],
    directory: ReproductionDirectory,
    data_dir: Path | None,
    training: bool,
) -> list[Task]:
    """What is not done yet: circuits, which take seconds, then runs."""
    from qdeq_qiskit.studies.tasks import Task

    tasks = [
        Task(f"circuit-{key}", work.count_circuit, (row, directory), f"the circuit of {row.name}", group=CIRCUITS)
        for key, row in circuits.items()
        if directory.circuit(key) is None
    ]
    for row, seed in runs:
        path = directory.run(row.name, seed)
        finished = work.is_trained(path)
        if (training and not finished) or (finished and directory.measures(path.name) is None):
            key, title = task_key(row.name, seed), f"{row.name}, seed {seed}"
            tasks.append(Task(key, work.train_and_measure, (row, seed, directory, data_dir), title, group=RUNS))
    return tasks


def _news(row: Row, seed: int, directory: ReproductionDirectory, seconds: float) -> str:
    from qdeq_qiskit.training import RunDirectory

    accuracy = RunDirectory(directory.run(row.name, seed)).result()["test_accuracy"]
    return f"{row.name}, seed {seed}: {accuracy:.1%} of the test images, in {seconds:,.0f} s"


def _failed(plan: Plan, directory: ReproductionDirectory) -> list[tuple[str, str]]:
    """What failed and was not done since."""
    found = [failure for line in lines_of(plan, directory) for failure in line.failures]
    for key, row in _circuits(plan).items():
        error = directory.books.failure(f"circuit-{key}")
        if error is not None:
            found.append((f"the circuit of {row.name}", error))
    return list(dict.fromkeys(found))


def _origin(plan: Plan, directory: ReproductionDirectory, data_dir: Path | None) -> dict[str, Any]:
    packages = ("torch", "qiskit", "qiskit-machine-learning", "lightning", "numpy", "scikit-learn")
    begun = directory.origin().get("begun") if (directory.path / ORIGIN).exists() else None
    now = time.strftime("%Y-%m-%d %H:%M:%S %z")
    return {
        "name": plan.name,
        "quick": plan.quick,
        "begun": begun or now,
        "last": now,
        "data_dir": str(data_dir) if data_dir is not None else None,
        "versions": {
            "qdeq_qiskit": __version__,
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
    }


@contextmanager
def _made(directory: ReproductionDirectory) -> Iterator[None]:
    """The folder is there, before it is locked."""
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWriteError(error.errno, error.strerror or str(error), str(directory.path)) from None
    yield


@contextmanager
def _telling_how_to_continue(command: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; `{command}` goes on, and trains no finished row again") from None
    except OSError as error:
        named = error.filename is not None and error.strerror is not None and type(error).__str__ is OSError.__str__
        what = f"{error.filename}: {error.strerror}" if named else str(error)
        raise RunError(f"{what}; when that is mended, `{command}` goes on") from None
