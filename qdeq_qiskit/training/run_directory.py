"""The folder of one training run, and what stands where in it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from qdeq_qiskit import recipes
from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.training.errors import RunError
from qdeq_qiskit.training.folders import FolderKind
from qdeq_qiskit.training.recipe import TrainingRecipe


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
        """A new, empty folder: `out`, or the first free `runs/<name>-<number>`.

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

    def begin(self, recipe: TrainingRecipe, origin: dict[str, Any]) -> None:
        """Write down what is going to be done."""
        self.checkpoints.mkdir(exist_ok=True)
        write_atomically(self.path / _ORIGIN, json.dumps(origin, indent=2) + "\n")
        write_atomically(self.path / _RECIPE, recipes.dump(recipe))

    def reopen(self, recipe: TrainingRecipe) -> None:
        """Make a finished run an unfinished one, to be continued with this recipe."""
        (self.path / _RESULT).unlink(missing_ok=True)
        self.checkpoints.mkdir(exist_ok=True)
        write_atomically(self.path / _RECIPE, recipes.dump(recipe))

    def recipe(self) -> TrainingRecipe:
        """The resolved recipe.

        Raises:
            RecipeError: somebody changed it into something else.
        """
        return TrainingRecipe.load(self.path / _RECIPE)

    def origin(self) -> dict[str, Any]:
        """Which recipe by name, which data folder, SHA-256 of the splits, which versions.

        Raises:
            RunError: the file is missing or damaged.
        """
        return self._json(_ORIGIN)

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
        content = self._json(_RESULT)
        missing = [key for key in _RESULT_KEYS if key not in content]
        if missing:
            raise RunError(f"{self.path / _RESULT}: is damaged: {missing[0]} is missing")
        return content

    def finish(self, result: dict[str, Any]) -> None:
        """Write down what came out; from now on the run counts as finished."""
        write_atomically(self.path / _RESULT, json.dumps(result, indent=2, allow_nan=False) + "\n")

    def discard(self) -> None:
        """Remove a run that came to nothing."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _json(self, name: str) -> dict[str, Any]:
        path = self.path / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise RunError(f"{path}: cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise RunError(f"{path}: is damaged: {error}") from None
        if not isinstance(content, dict):
            raise RunError(f"{path}: is damaged: it holds no mapping")
        return content


_RECIPE = "recipe.yaml"
_FOLDER = FolderKind("run", _RECIPE, "qdeq fit --resume")
_ORIGIN = "run.json"
_RESULT = "result.json"
_RESULT_KEYS = (
    "best_epoch",
    "epochs",
    "steps",
    "seconds",
    "ms_per_step",
    "seed",
    "test_accuracy",
    "valid_accuracy",
    "control_accuracy",
    "median_residual",
    "converged_fraction",
    "mean_iterations",
    "circuits",
    "shots",
    "test",
    "control",
    "parameters",
    "samples",
    "backend",
)
