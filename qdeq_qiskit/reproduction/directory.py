"""The folder of one reproduction, and what stands where in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdeq_qiskit.files import is_unfinished, remove_unfinished, write_atomically
from qdeq_qiskit.reproduction.recipe import PaperTable, ReproductionRecipe
from qdeq_qiskit.resolved import resolved
from qdeq_qiskit.studies.bookkeeping import LOCK, Bookkeeping, read_if_whole
from qdeq_qiskit.training.errors import RunError

ORIGIN, RECIPE = "reproduction.json", "reproduction.yaml"


@dataclass(frozen=True)
class ReproductionDirectory:
    """One reproduction's folder.

    Attributes:
        path: the folder: `runs/` (an ordinary run directory for each row and seed, `<recipe>-seed<seed>`),
            `measured/` (what is measured of a finished run besides), `circuits/` (what each compiled circuit takes),
            `reproduction.json` (what it is, versions), `reproduction.yaml`, `failures/`, `journal.jsonl`;
            `table.md`, `table.csv`, `runs.csv`, `figures/`.
    """

    path: Path

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def measured(self) -> Path:
        return self.path / "measured"

    @property
    def circuits(self) -> Path:
        return self.path / "circuits"

    @property
    def figures(self) -> Path:
        return self.path / "figures"

    @property
    def books(self) -> Bookkeeping:
        """Journal, failures, and the lock of the process that is at work."""
        return Bookkeeping(self.path, "reproduction")

    def check_usable(self, name: str, *, quick: bool) -> None:
        """Refuse a folder of something else, before anything is written to it.

        Runs may be there, with whatever else: `qdeq fit` may have made them.

        Raises:
            RunError: it is a file, holds things but no runs, what would be overwritten, or another reproduction.
        """
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise RunError(f"{self.path}: is a file; --out needs a folder")
        if (self.path / ORIGIN).exists():
            origin = self.origin()
            if origin.get("name") != name or origin.get("quick") != quick:
                holds = f"the {'quick ' if origin.get('quick') else ''}reproduction of {origin.get('name')!r}"
                raise RunError(f"{self.path}: holds {holds}; give another folder with --out")
            return
        there = {entry.name for entry in self.path.iterdir() if not is_unfinished(entry)} - {LOCK}
        taken = sorted(there & _WRITTEN) or sorted(there if "runs" not in there else ())
        if taken:
            raise RunError(
                f"{self.path}: holds {taken[0]}, but no {ORIGIN}, so it is no folder of a reproduction; give a new one "
                "with --out, or one with runs/ in it"
            )

    def begin(self, recipe: ReproductionRecipe, origin: dict[str, Any]) -> None:
        """Write down what is done here, as often as it is begun or goes on."""
        # First what shows that all else is a reproduction's.
        write_atomically(self.path / ORIGIN, json.dumps(origin, indent=2) + "\n")
        write_atomically(self.path / RECIPE, resolved(recipe))
        for folder in (self.runs, self.measured, self.circuits, self.books.failures, self.figures):
            folder.mkdir(parents=True, exist_ok=True)

    def origin(self) -> dict[str, Any]:
        """Which reproduction, quick or not, begun when, with which versions.

        Raises:
            RunError: the file is missing or damaged.
        """
        content = read_if_whole(self.path / ORIGIN)
        if content is None:
            raise RunError(f"{self.path / ORIGIN}: is missing or damaged")
        return content

    def recipe(self) -> ReproductionRecipe:
        """The recipe, as it was last used here.

        Raises:
            RecipeError: somebody changed it into something else.
        """
        return ReproductionRecipe.load(self.path / RECIPE)

    def tidy(self) -> None:
        """Remove what killed processes left of files that only one process writes."""
        for folder in (self.path, self.figures):
            remove_unfinished(folder)

    def run(self, recipe: str, seed: int) -> Path:
        """The run directory of a row's seed."""
        return self.runs / f"{recipe}-seed{seed}"

    def seeds_there(self, recipe: str) -> Iterator[int]:
        """The seeds of a row that have a run directory, in order."""
        prefix = f"{recipe}-seed"
        texts = (path.name.removeprefix(prefix) for path in self.runs.glob(f"{prefix}*"))
        yield from sorted(int(text) for text in texts if text.isascii() and text.isdecimal())

    def has_any(self, table: PaperTable) -> bool:
        """Whether a run of a table was measured; its seed does not matter."""
        return any(any(self.measured.glob(f"{name}-seed[0-9]*.json")) for name in table.row_names)

    def measures(self, run: str) -> dict[str, Any] | None:
        """What was measured of a finished run besides its result; None if nothing was yet."""
        return read_if_whole(self.measured / f"{run}.json")

    def write_measures(self, run: str, measures: dict[str, Any]) -> None:
        """Write down what was measured of a finished run."""
        write_atomically(self.measured / f"{run}.json", json.dumps(measures, indent=1, allow_nan=False) + "\n")

    def circuit(self, key: str) -> dict[str, Any] | None:
        """What a compiled circuit takes; None if it was not compiled yet."""
        return read_if_whole(self.circuits / f"{key}.json")

    def write_circuit(self, key: str, cost: dict[str, Any]) -> None:
        """Write down what a compiled circuit takes."""
        write_atomically(self.circuits / f"{key}.json", json.dumps(cost, indent=1) + "\n")


_WRITTEN = frozenset(
    {RECIPE, "measured", "circuits", "failures", "figures", "journal.jsonl", "table.md", "table.csv", "runs.csv"}
)
