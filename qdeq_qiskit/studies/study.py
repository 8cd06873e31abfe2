"""One study, from a recipe to a table, figures and a report."""

from __future__ import annotations

import platform
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from qdeq_qiskit import __version__, recipes
from qdeq_qiskit.studies import work
from qdeq_qiskit.studies.computing import absolute, check_scheduler, compute
from qdeq_qiskit.studies.directory import STUDY, StudyDirectory
from qdeq_qiskit.studies.plan import Plan, make_plan
from qdeq_qiskit.studies.recipe import KIND, StudyRecipe
from qdeq_qiskit.studies.references import resolved
from qdeq_qiskit.studies.table import failures, make_table, write_table
from qdeq_qiskit.training.data.published import chosen_folder
from qdeq_qiskit.training.errors import RunError

TRAININGS, CELLS = "trainings", "cells"


@dataclass(frozen=True, eq=False)
class Finished:
    """What a study came to.

    Attributes:
        directory: its folder.
        table: a row for each finished cell; see `table.make_table`.
        cells: how many cells there are.
        missing: (title, reason) of what failed.
    """

    directory: StudyDirectory
    table: pd.DataFrame
    cells: int
    missing: list[tuple[str, str]]


def run_study(
    name_or_path: str | Path,
    *,
    overrides: tuple[str, ...] | list[str] = (),
    out: Path | None = None,
    data_dir: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    console: Console | None = None,
) -> Finished:
    """Run a study from the beginning.

    Nothing is written before everything that the recipe names was found, built and compiled once.

    Args:
        name_or_path: a study recipe.
        overrides: `"samples=40"` each.
        out: a new or empty directory; None for the first free `runs/<name>-<number>`.
        data_dir: folder of data that are not bundled.
        workers: processes of the local cluster; None for one per CPU.
        scheduler: address of a running dask scheduler to use instead.
        console: where progress is shown; None for nowhere.

    Raises:
        RecipeError, RunError, DataError, SetupError: something cannot be used; the message says what.
        KeyboardInterrupt: Ctrl-C; the message says how to go on.
    """
    path = recipes.find(KIND, name_or_path)
    study = resolved(StudyRecipe.load(path, [*overrides]), base=path.parent, source=str(path))
    name = path.stem
    if out is not None:
        StudyDirectory.check_free(out)
    check_scheduler(scheduler)
    data_dir = absolute(chosen_folder(data_dir))
    plan = make_plan(study, source=str(path), data_dir=data_dir)
    directory = StudyDirectory.claim(out, name=name)
    directory.begin(study, _origin(name, data_dir))
    try:
        return _run(plan, directory, data_dir, workers, scheduler, console)
    except RunError:
        if not any(any(folder.iterdir()) for folder in (directory.runs, directory.cells, directory.books.failures)):
            shutil.rmtree(directory.path, ignore_errors=True)  # no worker took anything up
        raise


def resume_study(
    path: Path,
    *,
    data_dir: Path | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    console: Console | None = None,
) -> Finished:
    """Do what is left of a study: what is finished is not done again, what failed is tried again.

    Raises:
        RunError: there is no study, or another process is running it. Else as `run_study`.
    """
    directory = StudyDirectory.open(path)
    check_scheduler(scheduler)
    recorded = directory.origin().get("data_dir")
    folder = absolute(data_dir or (Path(recorded) if isinstance(recorded, str) else None))
    plan = make_plan(directory.recipe(), source=str(path / STUDY), data_dir=folder)
    return _run(plan, directory, folder, workers, scheduler, console)


def _run(
    plan: Plan,
    directory: StudyDirectory,
    data_dir: Path | None,
    workers: int | None,
    scheduler: str | None,
    console: Console | None,
) -> Finished:
    directory = StudyDirectory(directory.path.resolve())
    with directory.books.claimed(), _telling_how_to_continue(directory):
        directory.tidy()
        _compute(plan, directory, data_dir, workers, scheduler, console)
        return conclude(plan, directory)


def conclude(plan: Plan, directory: StudyDirectory) -> Finished:
    """Write table, figures and report from the cells that are finished."""
    from qdeq_qiskit.studies.report import write_report

    table = make_table(plan, directory)
    missing = failures(plan, directory)
    if table.empty:
        raise RunError(f"{directory.path}: no cell was finished; the first reason: {missing[0][0]}: {missing[0][1]}")
    write_table(table, directory)
    write_report(plan, directory, table, missing)
    return Finished(directory, table, len(plan.cells), missing)


def _compute(
    plan: Plan,
    directory: StudyDirectory,
    data_dir: Path | None,
    workers: int | None,
    scheduler: str | None,
    console: Console | None,
) -> None:
    """Train and evaluate what is not there yet."""
    if console is not None:
        for line in plan.left_out:
            console.print(f"left out: {line}", highlight=False, soft_wrap=True, markup=False)
    totals = {TRAININGS: sum(not model.given for model in plan.models), CELLS: len(plan.cells)}
    tasks = _tasks(plan, directory, data_dir)
    compute(tasks, totals=totals, books=directory.books, workers=workers, scheduler=scheduler, console=console)


def _tasks(plan: Plan, directory: StudyDirectory, data_dir: Path | None) -> list[Any]:
    """What is not done yet: trainings, then cells, each with what it needs."""
    from qdeq_qiskit.studies.tasks import Task

    tasks = []
    trainings = {}
    for model in plan.models:
        key = trainings[model.run] = f"train-{model.run.name}"
        if not model.given and not work.is_trained(model, directory):
            title = f"training of {model.title}"
            tasks.append(Task(key, work.train, (model, directory, data_dir), title, group=TRAININGS))
    for cell in plan.cells:
        if directory.row(cell.key) is None:
            requires = (trainings[cell.model.run], *([cell.reference] if cell.reference else []))
            tasks.append(Task(cell.key, work.compute, (cell, directory), cell.title, requires, CELLS))
    return tasks


def _origin(name: str, data_dir: Path | None) -> dict[str, Any]:
    packages = ("torch", "qiskit", "qiskit-aer", "qiskit-ibm-runtime", "distributed", "numpy")
    return {
        "name": name,
        "data_dir": str(data_dir) if data_dir is not None else None,
        "begun": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "versions": {
            "qdeq_qiskit": __version__,
            "python": platform.python_version(),
            **{package: _version(package) for package in packages},
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except Exception:
        warnings.warn(f"{package} is not installed", stacklevel=2)
        return "not installed"


@contextmanager
def _telling_how_to_continue(directory: StudyDirectory) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; `qdeq study --resume {directory.path}` goes on, and repeats nothing that is finished"
        ) from None
