"""A study's tidy table: a row for each finished cell."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd

from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.studies.directory import StudyDirectory
from qdeq_qiskit.studies.plan import Plan

WHOLE_NUMBERS = (
    "layers",
    "training_seed",
    "evaluation_seed",
    "shots",
    "depth",
    "two_qubit_depth",
    "two_qubit_gates",
    "samples",
    "branch_changes",
    "not_compared",
    "circuits",
    "total_shots",
)


def make_table(plan: Plan, directory: StudyDirectory) -> pd.DataFrame:
    """The finished cells of a plan, in its order; what a cell has no figure for is missing, not zero.

    Columns: the labels of `Cell.labels`, the figures of `measures.measures`, `accuracy_of_<class>` for each class,
    `control_accuracy`, and the cell's `key`.
    """
    rows = []
    for cell in plan.cells:
        measured = directory.row(cell.key)
        if measured is None:
            continue
        names = plan.class_names[cell.model.name]
        by_class = dict(zip(names, measured["class_accuracy"], strict=True))
        row = {**measured, **cell.labels()}  # the labels of now: a model may have another name than it had
        del row["class_accuracy"]
        row |= {f"accuracy_of_{name}": share for name, share in by_class.items()}
        rows.append({**row, "control_accuracy": plan.controls[cell.model.name], "key": cell.key})
    table = pd.DataFrame(rows)
    for column in WHOLE_NUMBERS:
        if column in table:
            table[column] = table[column].astype("Int64")
    return _with_numbers(table)


def write_table(table: pd.DataFrame, directory: StudyDirectory) -> None:
    """Write `table.parquet` and `table.csv`."""
    parquet = io.BytesIO()
    table.to_parquet(parquet, index=False)
    write_atomically(directory.table.with_suffix(".parquet"), parquet.getvalue())
    write_atomically(directory.table.with_suffix(".csv"), table.to_csv(index=False))


def _with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of numbers with some missing as numbers: None everywhere would make them objects."""
    for column in table.columns:
        if table[column].dtype == object and all(_is_number(value) for value in table[column]):
            table[column] = pd.to_numeric(table[column]).astype(float)
    return table


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, int | float) or value is pd.NA


def failures(plan: Plan, directory: StudyDirectory) -> list[tuple[str, str]]:
    """What is missing from the table and why: (title, reason) for each model and cell that is not there."""
    missing = [
        (f"training of {model.title}", error)
        for model in plan.models
        if (error := directory.books.failure(f"train-{model.run.name}")) is not None
    ]
    for cell in plan.cells:
        if directory.row(cell.key) is None:
            missing.append((cell.title, directory.books.failure(cell.key) or "not done yet"))
    return missing
