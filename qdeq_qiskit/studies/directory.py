"""The folder of one study, and what stands where in it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from qdeq_qiskit.files import read_mapping, remove_unfinished, write_atomically
from qdeq_qiskit.resolved import check_whole, resolved
from qdeq_qiskit.studies.recipe import StudyRecipe
from qdeq_qiskit.training.errors import RunError
from qdeq_qiskit.training.folders import FolderKind

STUDY, ORIGIN, LOCK = "study.yaml", "study.json", ".lock"
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
    def failures(self) -> Path:
        return self.path / "failures"

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
        for folder in (self.runs, self.cells, self.failures, self.figures):
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
        content = _read_json(self.path / ORIGIN)
        if content is None:
            raise RunError(f"{self.path / ORIGIN}: is missing or damaged")
        return content

    def row(self, key: str) -> dict[str, Any] | None:
        """A finished cell's figures; None if it is not finished."""
        return _read_json(self.cells / f"{key}.json")

    def arrays(self, key: str) -> Path:
        """The file with a cell's arrays; whole if the cell has its row."""
        return self.cells / f"{key}.safetensors"

    def finish_cell(self, key: str, row: dict[str, Any]) -> None:
        """Write down a cell's figures; from now on it counts as finished. Its arrays must be there before."""
        write_atomically(self.cells / f"{key}.json", json.dumps(row, indent=1, allow_nan=False) + "\n")

    def record_failure(self, key: str, error: str, details: str) -> None:
        """Write down why a task failed."""
        content = {"error": error, "details": details}
        write_atomically(self.failures / f"{key}.json", json.dumps(content, indent=1) + "\n")

    def forget_failure(self, key: str) -> None:
        """What failed once was done now."""
        (self.failures / f"{key}.json").unlink(missing_ok=True)

    def failure(self, key: str) -> str | None:
        """The last error of a task; None if there was none."""
        content = _read_json(self.failures / f"{key}.json")
        return str(content["error"]) if content is not None and "error" in content else None

    def log(self, key: str, seconds: float) -> None:
        """Add a line to the journal of all computations; one write, so that lines of several workers do not mix."""
        line = json.dumps({"key": key, "seconds": round(seconds, 3), "pid": os.getpid()}) + "\n"
        with (self.path / "journal.jsonl").open("ab", buffering=0) as file:
            file.write(line.encode())

    def tidy(self) -> None:
        """Remove what killed processes left of files that only one process writes; workers may be writing cells."""
        for folder in (self.path, self.figures):
            remove_unfinished(folder)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from running this study meanwhile; the system lets go when the process dies.

        Raises:
            RunError: one is running it.
        """
        with (self.path / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"{self.path}: another process is running this study") from None
            except OSError:  # a file system without locks: nothing is lost but this check
                pass
            yield


def _read_json(path: Path) -> dict[str, Any] | None:
    """A mapping in a file; None if the file is missing or not whole."""
    try:
        return read_mapping(path)
    except (OSError, ValueError):
        return None
