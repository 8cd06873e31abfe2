"""The ledger: an SQLite file that knows every job of a run before the service does, and every outcome after.

What is committed has reached the disk, so a process may be killed at any moment. One process at a time works on a
ledger; any number may read it.
"""

from __future__ import annotations

import dataclasses
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, final

from filelock import FileLock

from qdeq_qiskit.backends.runtime.errors import LedgerError
from qdeq_qiskit.backends.runtime.job_row import JobRow
from qdeq_qiskit.backends.runtime.ledger_file import SCHEMA, claimed, connect, prepare, told
from qdeq_qiskit.backends.runtime.solve import Solve

_COLUMNS = ", ".join(field.name for field in dataclasses.fields(JobRow))


@final
class Ledger:
    """Solves, requests and jobs; opened by `open` or `read`, and closed as a context manager or by `close`.

    Attributes:
        name: what messages call it: its path.
    """

    def __init__(self, connection: sqlite3.Connection, name: str, lock: FileLock | None) -> None:
        self.name = name
        self._connection, self._lock = connection, lock
        # A backward pass may ask for circuits in a thread of its own.
        self._turn = threading.RLock()
        self._depth = 0

    @classmethod
    def open(cls, path: Path | None) -> Self:
        """A ledger to work on; it is made if it is not there.

        Args:
            path: of the file; None for one in memory, that ends with the process.

        Raises:
            LedgerError: another process works on it, or it is damaged or something else.
        """
        if path is None:
            ledger = cls(connect(":memory:"), "ledger in memory", None)
            ledger._connection.executescript(SCHEMA)
            return ledger
        lock = claimed(path)
        try:
            with told(str(path)):
                ledger = cls(connect(path), str(path), lock)
                prepare(ledger._connection, ledger.name)
                return ledger
        except BaseException:
            lock.release()
            raise

    @classmethod
    def read(cls, path: Path) -> Self:
        """A ledger to look into, whoever works on it.

        Raises:
            LedgerError: there is none, or it is damaged or something else.
        """
        if not path.is_file():
            raise LedgerError(f"{path}: there is no ledger, so nothing was submitted from here yet")
        with told(str(path)):
            # Not `mode=ro`: what a killed process left half written has to be rolled back first.
            ledger = cls(connect(f"{path.resolve().as_uri()}?mode=rw", uri=True), str(path), None)
            prepare(ledger._connection, ledger.name)
            ledger._connection.execute("PRAGMA query_only = ON")
            return ledger

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
        if self._lock is not None:
            self._lock.release()

    def begin(
        self,
        kind: str,
        settings: dict[str, Any],
        *,
        calibration: str = "",
        processor: str = "",
        predicted: dict[str, Any] | None = None,
    ) -> Solve:
        """A new solve.

        Args:
            kind: of work.
            settings: all that it depends on, in plain values, as in JSON.
            calibration: of the processor, as text.
            processor: its name.
            predicted: what the solve is expected to take.
        """
        values = (kind, json.dumps(settings), calibration, processor, json.dumps(predicted or {}), time.time())
        with self.transaction():
            row = self.execute(
                "INSERT INTO solves(kind, settings, calibration, processor, predicted, created, state) "
                "VALUES (?,?,?,?,?,?,'open')",
                *values,
            )
        assert row.lastrowid is not None
        return Solve(self, row.lastrowid)

    def solves(self) -> list[Solve]:
        """All of them, in the order in which they were begun."""
        return [Solve(self, number) for (number,) in self._all("SELECT id FROM solves ORDER BY id")]

    def solve(self, solve_id: int) -> Solve:
        """The solve of that number.

        Raises:
            LedgerError: there is none.
        """
        if self.one("SELECT id FROM solves WHERE id=?", solve_id) is None:
            raise LedgerError(f"{self.name}: there is no solve {solve_id}")
        return Solve(self, solve_id)

    def jobs(self, solve_id: int | None = None, number: int | None = None) -> list[JobRow]:
        """Jobs, in the order of requests and attempts: those of a request of a solve, of a solve, or all."""
        wanted = {"solve": solve_id, "number": number}
        values = [value for value in wanted.values() if value is not None]
        where = " AND ".join(f"{column}=?" for column, value in wanted.items() if value is not None) or "TRUE"
        rows = self._all(f"SELECT {_COLUMNS} FROM jobs WHERE {where} ORDER BY solve, number, attempt", *values)
        return [JobRow(*row) for row in rows]

    def insert_job(self, row: JobRow) -> None:
        """Write down a new job."""
        values = dataclasses.astuple(row)
        self.execute(f"INSERT INTO jobs({_COLUMNS}) VALUES ({','.join('?' * len(values))})", *values)

    def update_job(self, row: JobRow, changes: dict[str, Any]) -> JobRow:
        """Write down changes of a job, and return the row with them."""
        assignments = ", ".join(f"{column}=?" for column in changes)
        self.execute(f"UPDATE jobs SET {assignments} WHERE tag=?", *changes.values(), row.tag)
        return dataclasses.replace(row, **changes)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside is written, or nothing of it; may be nested."""
        with self._turn:
            if self._depth:
                yield
                return
            with told(self.name):
                self._connection.execute("BEGIN IMMEDIATE")
                self._depth += 1
                try:
                    yield
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
                finally:
                    self._depth -= 1

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Run one statement; it is committed at once, unless inside `transaction`."""
        with self._turn, told(self.name):
            return self._connection.execute(sql, values)

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query."""
        with self._turn, told(self.name):
            return self._connection.execute(sql, values).fetchone()

    def _all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._turn, told(self.name):
            return self._connection.execute(sql, values).fetchall()
