"""What a folder of tasks keeps besides their results: who is at work in it, what was computed when, and what failed."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from qdeq_qiskit.files import read_mapping, write_atomically
from qdeq_qiskit.training.errors import RunError

LOCK = ".lock"


@final
@dataclass(frozen=True)
class Bookkeeping:
    """The books of one folder.

    Attributes:
        path: the folder: `journal.jsonl` (a line for each computation), `failures/` (the last error of each task that
            failed), and the lock of the process that is at work.
        noun: what users call what is done in it, such as "study".
    """

    path: Path
    noun: str

    @property
    def failures(self) -> Path:
        return self.path / "failures"

    def record_failure(self, key: str, error: str, details: str) -> None:
        """Write down why a task failed."""
        content = {"error": error, "details": details}
        write_atomically(self.failures / f"{key}.json", json.dumps(content, indent=1) + "\n")

    def forget_failure(self, key: str) -> None:
        """What failed once was done now."""
        (self.failures / f"{key}.json").unlink(missing_ok=True)

    def failure(self, key: str) -> str | None:
        """The last error of a task; None if there was none."""
        content = read_if_whole(self.failures / f"{key}.json")
        return str(content["error"]) if content is not None and "error" in content else None

    def log(self, key: str, seconds: float) -> None:
        """Add a line to the journal of all computations; one write, so that lines of several workers do not mix."""
        line = json.dumps({"key": key, "seconds": round(seconds, 3), "pid": os.getpid()}) + "\n"
        with (self.path / "journal.jsonl").open("ab", buffering=0) as file:
            file.write(line.encode())

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from working in this folder meanwhile; the system lets go when the process dies.

        Raises:
            RunError: one is at work in it.
        """
        with (self.path / LOCK).open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"{self.path}: another process is running this {self.noun}") from None
            except OSError:  # a file system without locks: nothing is lost but this check
                pass
            yield


def read_if_whole(path: Path) -> dict[str, Any] | None:
    """A mapping in a file; None if the file is missing or not whole."""
    try:
        return read_mapping(path)
    except (OSError, ValueError):
        return None
