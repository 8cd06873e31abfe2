"""The folder of one solve, in its run's: what came of it, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdeq_qiskit.files import read_mapping, write_atomically
from qdeq_qiskit.training.errors import RunError

LEDGER = "ledger.sqlite"


@dataclass(frozen=True)
class SolveFolder:
    """`RUN/hardware/<solve>`.

    Attributes:
        path: the folder: `result.json`, `report.html`, `layout.png` (the chosen qubits on the coupling map),
            `test.safetensors` (each test image's outcome; of method tune, of the tuned model), `operators.safetensors`
            (of method surrogate), `before.safetensors` and `model/` (of method tune).
    """

    path: Path

    @classmethod
    def of(cls, run: Path, solve: int) -> SolveFolder:
        """That of a run's solve; `make` makes it."""
        return cls(run / "hardware" / str(solve))

    @classmethod
    def all_of(cls, run: Path) -> list[SolveFolder]:
        """Those of all of a run's solves that were begun, the first one first."""
        numbers = sorted(int(path.name) for path in (run / "hardware").glob("*") if path.name.isdecimal())
        return [cls.of(run, number) for number in numbers]

    def make(self) -> None:
        """Have the folder."""
        self.path.mkdir(parents=True, exist_ok=True)

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def layout(self) -> Path:
        return self.path / "layout.png"

    @property
    def test(self) -> Path:
        return self.path / "test.safetensors"

    @property
    def before(self) -> Path:
        return self.path / "before.safetensors"

    @property
    def operators(self) -> Path:
        return self.path / "operators.safetensors"

    @property
    def model(self) -> Path:
        return self.path / "model"

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write down what came out."""
        write_atomically(self.result, json.dumps(result, indent=2, allow_nan=False) + "\n")

    def read_result(self) -> dict[str, Any]:
        """What came out.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            return read_mapping(self.result)
        except OSError as error:
            raise RunError(f"{self.result}: cannot be read: {error.strerror or error}") from None
        except ValueError as error:
            raise RunError(f"{self.result}: is damaged: {error}") from None
