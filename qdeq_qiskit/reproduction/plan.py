"""What a reproduction does: its rows, each with its seeds. Everything is checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from qdeq_qiskit import recipes
from qdeq_qiskit.models import QDEQClassifier
from qdeq_qiskit.noise import fake_backends
from qdeq_qiskit.recipes import RecipeError
from qdeq_qiskit.reproduction.directory import ReproductionDirectory
from qdeq_qiskit.reproduction.recipe import PaperTable, ReproductionRecipe
from qdeq_qiskit.reproduction.rows import Row, differences
from qdeq_qiskit.training import RunDirectory, load_splits
from qdeq_qiskit.training.errors import DataError, RunError, SetupError
from qdeq_qiskit.training.preparation import setting_up

MOST_LISTED = 3


@dataclass(frozen=True)
class PlannedRow:
    """A row with its seeds.

    Attributes:
        row: the row.
        seeds: those that are asked for, and others that have a run in the folder.
    """

    row: Row
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """What a reproduction does.

    Attributes:
        name: the reproduction's name.
        recipe: the reproduction.
        quick: whether it is changed as --quick says.
        tables: those that were chosen.
        rows: their rows, table by table.
    """

    name: str
    recipe: ReproductionRecipe
    quick: bool
    tables: tuple[PaperTable, ...]
    rows: tuple[PlannedRow, ...]

    def of(self, table: str) -> list[PlannedRow]:
        """A table's rows."""
        return [planned for planned in self.rows if planned.row.table == table]

    def in_order(self) -> list[tuple[Row, int]]:
        """Every row with every seed as they are trained: table by table, seed by seed, long rows first."""
        place = {table.name: position for position, table in enumerate(self.tables)}
        tasks = [(planned.row, position, seed) for planned in self.rows for position, seed in enumerate(planned.seeds)]
        tasks.sort(key=lambda task: (place[task[0].table], task[1], -task[0].price))
        return list({(row.name, seed): (row, seed) for row, _, seed in tasks}.values())


def make_plan(
    path: Path,
    *,
    tables: tuple[str, ...] = (),
    seeds: int | None = None,
    quick: bool = False,
) -> Plan:
    """The plan of a reproduction; every recipe is read and every circuit built.

    Args:
        path: the file of its recipe.
        tables: names of the tables that are wanted; none for all.
        seeds: how many seeds each row is trained with; None for what the recipe says of the table.
        quick: whether --quick is.

    Raises:
        RecipeError: the recipe is wrong, a table is not there, or a row's recipe is missing or wrong.
    """
    recipe, name = ReproductionRecipe.load(path), path.stem
    chosen = recipe.chosen(tables, name)
    if recipe.depth_target not in (known := fake_backends()):
        listed = recipes.choices(recipe.depth_target, known, "there are")
        raise RecipeError(f"{path}: depth_target: {recipes.shown(recipe.depth_target)} is unknown; {listed}")
    changes, rows = recipe.quick if quick else None, []
    for table in chosen:
        count = seeds or (recipe.quick.seeds if quick else table.seeds)
        for training in table.rows:
            try:
                row = Row.of(table.name, training, base=path.parent, depth_target=recipe.depth_target, quick=changes)
            except RecipeError as error:
                raise RecipeError(f"{path}: table {table.name}: {error}") from None
            rows.append(PlannedRow(row, tuple(range(count))))
    return Plan(name, recipe, quick, chosen, tuple(rows))


def with_runs_there(plan: Plan, directory: ReproductionDirectory) -> Plan:
    """The plan with the seeds that have a run in the folder already, besides those that are asked for."""

    def widened(planned: PlannedRow) -> PlannedRow:
        there = set(directory.seeds_there(planned.row.name))
        return replace(planned, seeds=(*planned.seeds, *sorted(there - set(planned.seeds))))

    return replace(plan, rows=tuple(map(widened, plan.rows)))


def with_tables_there(plan: Plan, path: Path, directory: ReproductionDirectory) -> Plan:
    """The plan with the tables that have measured runs in the folder, besides those that are asked for: the files of
    the folder show them, too.

    Args:
        plan: what is asked for.
        path: the file of its recipe.
        directory: the folder.

    Raises:
        RecipeError: a row's recipe of such a table is missing or wrong.
        RunError: a run in the folder is another than its row's.
    """
    others = tuple(table.name for table in plan.recipe.tables if table not in plan.tables and directory.has_any(table))
    if not others:
        return plan
    more = with_runs_there(make_plan(path, tables=others, quick=plan.quick), directory)
    _refuse([text for planned in more.rows for text in _other_recipes(planned, directory)])
    tables = tuple(table for table in plan.recipe.tables if table in (*plan.tables, *more.tables))
    rows = [planned for table in tables for planned in (*plan.of(table.name), *more.of(table.name))]
    return replace(plan, tables=tables, rows=tuple(rows))


def check(plan: Plan, directory: ReproductionDirectory, data_dir: Path | None) -> None:
    """See that the data are there, that every row's parts fit, and that runs in the folder are those of the rows.

    Each data set is read once; it may be downloaded.

    Raises:
        DataError, SetupError: a row cannot be trained; the message says why.
        RunError: a run in the folder is another than its row's, or was trained with other data.
    """
    by_data: dict[str, list[PlannedRow]] = {}
    for planned in plan.rows:
        by_data.setdefault(planned.row.recipe.data.model_dump_json(), []).append(planned)
    complaints = [text for planned in plan.rows for text in _other_recipes(planned, directory)]
    _refuse(complaints)
    for group in by_data.values():
        complaints += _checked_with_data(group, directory, data_dir)
    _refuse(complaints)


def _checked_with_data(
    group: Sequence[PlannedRow], directory: ReproductionDirectory, data_dir: Path | None
) -> Iterator[str]:
    """What is wrong with the runs of rows that have their data in common; raises if these rows cannot be trained."""
    first = group[0].row
    try:
        splits = load_splits(first.recipe.data, data_dir=data_dir)
    except DataError as error:
        raise DataError(f"{first.name}: {error}") from error
    images = torch.from_numpy(np.ascontiguousarray(splits.train.pixels[:2]))
    fingerprint = splits.fingerprint()
    for planned in group:
        row = planned.row
        runs = [directory.run(row.name, seed) for seed in planned.seeds]
        if not all((run / "result.json").is_file() for run in runs):
            try:
                with setting_up():
                    QDEQClassifier.from_recipe(row.recipe.classifier(splits), seed=0).features(images)
            except (DataError, SetupError) as error:
                raise type(error)(f"{row.name}: {error}") from error
        for run in runs:
            if (run / "recipe.yaml").is_file():
                recorded = RunDirectory(run).origin().get("data") or fingerprint
                other = [split for split, digest in fingerprint.items() if recorded.get(split) != digest]
                if other:
                    yield f"{run} was trained with other images or labels ({', '.join(other)})"


def _other_recipes(planned: PlannedRow, directory: ReproductionDirectory) -> Iterator[str]:
    """What tells the runs that are there from those of their row."""
    for seed in planned.seeds:
        path = directory.run(planned.row.name, seed)
        if (path / "recipe.yaml").is_file():
            first = next(differences(RunDirectory(path).recipe(), planned.row.seeded(seed)), None)
            if first is not None:
                key, found, wanted = first
                yield f"{path} was trained with {key} = {found!r}, but the row has {wanted!r}"


def _refuse(complaints: list[str]) -> None:
    if complaints:
        more = f"; and {len(complaints) - MOST_LISTED} more" if len(complaints) > MOST_LISTED else ""
        what = "it is" if len(complaints) == 1 else "they are"
        raise RunError(
            f"{'; '.join(complaints[:MOST_LISTED])}{more}: no run of this table; once {what} moved away, the row is "
            "trained anew"
        )
