"""The folder of one study, and what stands where in it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from qdeq_qiskit.files import remove_unfinished, write_atomically
from qdeq_qiskit.resolved import check_whole, resolved
from qdeq_qiskit.studies.bookkeeping import LOCK, Bookkeeping, read_if_whole
from qdeq_qiskit.studies.recipe import StudyRecipe
from qdeq_qiskit.training.errors import RunError
from qdeq_qiskit.training.folders import FolderKind

STUDY, ORIGIN = "study.yaml", "study.json"
_EARLIER = frozenset({ORIGIN, LOCK, "runs", "cells", "failures", "figures"})
_FOLDER = FolderKind("study", STUDY, "qdeq study --resume", _EARLIER)


@dataclass(frozen=True)
class StudyDirectory:
    """One study's folder.

    Attributes:
        path: the folder: `study.yaml` (resolved), `study.json` (where it came from), `runs/` (the training runs),
            `cells/` (a file of figures for each finished cell, beside one of arrays), `failures/` (the last error of
            each task that failed), `journal.jsonl` (a line for each computation), `table.parquet` and `table.csv`,
            `figures/`, `report.html`.
    """

    path: Path

    @classmethod
    def claim(cls, out: Path | None, *, name: str) -> Self:
        """A new, empty folder: `out`, or the first free `runs/<name>-<number>`.

        Raises:
            RunError: `out` holds something already, or cannot be made.
        """
        return cls(_FOLDER.claim(out, name=name))

    @staticmethod
    def check_free(out: Path) -> None:
        """Refuse a folder that holds something, before minutes are spent on what should go there.

        Raises:
            RunError: it does.
        """
        _FOLDER.check_free(out)

    @classmethod
    def open(cls, path: Path) -> Self:
        """The folder of a study that was begun.

        Raises:
            RunError: there is no study in it.
        """
        return cls(_FOLDER.open(path))

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def cells(self) -> Path:
        return self.path / "cells"

    @property
    def books(self) -> Bookkeeping:
        """Journal, failures, and the lock of the process that is at work."""
        return Bookkeeping(self.path, "study")

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def table(self) -> Path:
        """The tidy table without its suffix: `.parquet` and `.csv`."""
        return self.path / "table"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    def begin(self, recipe: StudyRecipe, origin: dict[str, Any]) -> None:
        """Write down what is going to be done; `recipe` is resolved, so that nothing else needs to stay in place."""
        for folder in (self.runs, self.cells, self.books.failures, self.figures):
            folder.mkdir(exist_ok=True)
        write_atomically(self.path / ORIGIN, json.dumps(origin, indent=2) + "\n")
        write_atomically(self.path / STUDY, resolved(recipe))

    def recipe(self) -> StudyRecipe:
        """The resolved recipe.

        Raises:
            RecipeError: somebody changed it into something else.
        """
        recipe = StudyRecipe.load(self.path / STUDY)
        check_whole(self.path / STUDY, recipe)
        return recipe

    def origin(self) -> dict[str, Any]:
        """Which recipe by name, which data folder, when, with which versions.

        Raises:
            RunError: the file is missing or damaged.
        """
        content = read_if_whole(self.path / ORIGIN)
        if content is None:
            raise RunError(f"{self.path / ORIGIN}: is missing or damaged")
        return content

    def row(self, key: str) -> dict[str, Any] | None:
        """A finished cell's figures; None if it is not finished."""
        return read_if_whole(self.cells / f"{key}.json")

    def arrays(self, key: str) -> Path:
        """The file with a cell's arrays; whole if the cell has its row."""
        return self.cells / f"{key}.safetensors"

    def finish_cell(self, key: str, row: dict[str, Any]) -> None:
        """Write down a cell's figures; from now on it counts as finished. Its arrays must be there before."""
        write_atomically(self.cells / f"{key}.json", json.dumps(row, indent=1, allow_nan=False) + "\n")

    def tidy(self) -> None:
        """Remove what killed processes left of files that only one process writes; workers may be writing cells."""
        for folder in (self.path, self.figures):
            remove_unfinished(folder)
