"""The folder of one training run, and what stands where in it."""

from __future__ import annotations

import csv
import errno
import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout
from pydantic import BaseModel, ValidationError

from qdeq_qiskit.files import CannotWriteError, read_mapping, remove_unfinished, write_atomically
from qdeq_qiskit.resolved import check_whole, resolved
from qdeq_qiskit.training.errors import RunError, RunIsLockedError
from qdeq_qiskit.training.folders import FolderKind
from qdeq_qiskit.training.recipe import TrainingRecipe
from qdeq_qiskit.training.result import RunOrigin, RunResult


@dataclass(frozen=True)
class RunDirectory:
    """One run's folder.

    Attributes:
        path: the folder: `recipe.yaml` (resolved), `run.json` (where it came from), `history.csv` and `tensorboard/`
            (logs), `checkpoints/` (last and the one before), `model/` (the best so far), `test.safetensors` (each
            test sample's outcome), `result.json`, `report.html`.
    """

    path: Path

    @classmethod
    def claim(cls, out: Path | None, *, name: str) -> Self:
        """A new folder: `out`, or the first free `runs/<name>-<number>`.

        Raises:
            RunError: `out` holds something already, or cannot be made.
        """
        return cls(_FOLDER.claim(out, name=name))

    @classmethod
    def open(cls, path: Path) -> Self:
        """The folder of a run that was begun.

        Raises:
            RunError: there is no run in it.
        """
        return cls(_FOLDER.open(path))

    @property
    def history(self) -> Path:
        return self.path / "history.csv"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        return self.path / "model"

    @property
    def test(self) -> Path:
        return self.path / "test.safetensors"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def finished(self) -> bool:
        """Whether the run has its result."""
        return (self.path / _RESULT).is_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from training in this folder meanwhile; the system lets go when the process dies.

        Where the file system knows no locks, a warning says so, and nobody is kept from anything.

        Raises:
            RunIsLockedError: one is training in it.
            CannotWriteError: the folder is read-only, or the disk is full.
        """
        lock = FileLock(self.path / _LOCK, thread_local=False)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise RunIsLockedError(
                f"{self.path}: another process is training this run; wait until it is done, or end it"
            ) from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                warnings.warn(
                    f"{self.path}: its file system keeps no locks ({error.strerror}); let no other process train this "
                    "run meanwhile",
                    stacklevel=3,
                )
                yield
                return
            with suppress(OSError):  # nothing is lost: only an empty folder goes
                self.path.rmdir()
            raise CannotWriteError(error.errno, error.strerror or str(error), str(self.path / _LOCK)) from None
        try:
            yield
        finally:
            (self.path / _LOCK).unlink(missing_ok=True)  # whoever opened it meanwhile notices, and makes a new one
            lock.release()

    def check_free(self) -> None:
        """See, with the lock in hand, that nobody was quicker.

        Raises:
            RunError: there is a run here.
        """
        _FOLDER.check_free(self.path)

    def tidy(self) -> None:
        """Remove what killed processes left of files that they were writing."""
        for folder in (self.path, self.checkpoints, self.model):
            remove_unfinished(folder)

    def begin(self, recipe: TrainingRecipe, origin: dict[str, Any]) -> None:
        """Write down what is going to be done."""
        # The recipe comes last: it shows that there is a run.
        self.checkpoints.mkdir(exist_ok=True)
        write_atomically(self.path / _ORIGIN, json.dumps(origin, indent=2) + "\n")
        write_atomically(self.path / _RECIPE, resolved(recipe))

    def reopen(self, recipe: TrainingRecipe) -> None:
        """Make a finished run an unfinished one, to be continued with this recipe."""
        for path in (self.path / _RESULT, self.report):  # in this order: a result without a report is finished
            path.unlink(missing_ok=True)
        self.checkpoints.mkdir(exist_ok=True)
        write_atomically(self.path / _RECIPE, resolved(recipe))

    def recipe(self) -> TrainingRecipe:
        """The resolved recipe.

        Raises:
            RecipeError: somebody changed it into something else, or it lost its end.
        """
        recipe = TrainingRecipe.load(self.path / _RECIPE)
        check_whole(self.path / _RECIPE, recipe)
        return recipe

    def origin(self) -> dict[str, Any]:
        """Which recipe by name, which data folder, SHA-256 of the splits, which versions.

        Raises:
            RunError: the file is missing or damaged.
        """
        return self._json(_ORIGIN, RunOrigin)

    def data_dir(self) -> Path | None:
        """The data folder that the run was begun with, if one was given."""
        recorded = self.origin().get("data_dir")
        return Path(recorded) if isinstance(recorded, str) else None

    def result(self) -> dict[str, Any]:
        """What came out.

        Raises:
            RunError: the run is not finished, or its result is damaged.
        """
        if not self.finished:
            raise RunError(f"{self.path}: the run is not finished; `qdeq fit --resume {self.path}` continues it")
        return self._json(_RESULT, RunResult)

    def epochs(self) -> list[dict[str, Any]]:
        """The rows of `history.csv`: a number for each of its columns.

        Raises:
            RunError: the file is missing, empty or damaged.
        """
        try:
            with self.history.open(encoding="utf-8", newline="") as file:
                rows = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file, strict=True)]
        except OSError as error:
            raise RunError(f"{self.history}: cannot be read: {error.strerror or error}") from None
        except (ValueError, TypeError, csv.Error) as error:
            raise RunError(f"{self.history}: is damaged: {error}") from None
        if not rows:
            raise RunError(f"{self.history}: is empty")
        if [row.get("epoch") for row in rows] != list(range(1, len(rows) + 1)):
            raise RunError(f"{self.history}: is damaged: its rows are not the epochs 1, 2, …")
        if self.finished and len(rows) != (epochs := self.result()["epochs"]):
            raise RunError(f"{self.history}: is damaged: it has {len(rows)} epochs, but the run has {epochs}")
        missing = _PLOTTED - set(rows[0])
        if missing:
            raise RunError(f"{self.history}: is damaged: the column {min(missing)} is missing")
        return [{**row, "epoch": int(row["epoch"])} for row in rows]

    def finish(self, result: dict[str, Any]) -> None:
        """Write down what came out; from now on the run counts as finished."""
        self.report.unlink(missing_ok=True)  # of an earlier result
        write_atomically(self.path / _RESULT, json.dumps(result, indent=2, allow_nan=False) + "\n")

    def discard(self) -> None:
        """Remove a run that came to nothing."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _json(self, name: str, model: type[BaseModel]) -> dict[str, Any]:
        path = self.path / name
        try:
            content = read_mapping(path)
            model.model_validate(content)
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise RunError(f"{path}: is damaged: {key + ': ' if key else ''}{first['msg'].lower()}") from None
        except ValueError as error:
            raise RunError(f"{path}: is damaged: {error}") from None
        return content


_RECIPE = "recipe.yaml"
_ORIGIN = "run.json"
_RESULT = "result.json"
_LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
_FOLDER = FolderKind("run", _RECIPE, "qdeq fit --resume", earlier=frozenset({_ORIGIN, _LOCK, "checkpoints"}))
_PLOTTED = {
    f"{split}_{name}" for split in ("train", "valid") for name in ("loss", "accuracy", "residual", "iterations")
}
