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

from filelock import FileLock, Timeout

from qdeq_qiskit.backends.runtime.errors import LedgerError
from qdeq_qiskit.backends.runtime.job_row import JobRow
from qdeq_qiskit.backends.runtime.solve import Solve

_APPLICATION, _VERSION = 0x71646571, 1  # "qdeq"
_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE solves (
    id INTEGER PRIMARY KEY, kind TEXT NOT NULL, settings TEXT NOT NULL, calibration TEXT NOT NULL,
    processor TEXT NOT NULL, session_id TEXT, state TEXT NOT NULL, predicted TEXT NOT NULL, result TEXT,
    created REAL NOT NULL
);
CREATE TABLE requests (
    solve INTEGER NOT NULL REFERENCES solves(id), number INTEGER NOT NULL, fingerprint TEXT NOT NULL,
    rows BLOB NOT NULL, outcome BLOB, qpu_seconds REAL, charged_seconds REAL, PRIMARY KEY (solve, number)
);
CREATE TABLE jobs (
    solve INTEGER NOT NULL REFERENCES solves(id), number INTEGER NOT NULL, attempt INTEGER NOT NULL,
    tag TEXT NOT NULL UNIQUE, job_id TEXT, state TEXT NOT NULL, reason TEXT, submitted REAL NOT NULL,
    rows INTEGER NOT NULL, circuits INTEGER NOT NULL, executions INTEGER NOT NULL, predicted_seconds REAL NOT NULL,
    qpu_seconds REAL, PRIMARY KEY (solve, number, attempt)
);
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
COMMIT;
"""
_COLUMNS = ", ".join(field.name for field in dataclasses.fields(JobRow))
_PATIENCE = 30.0  # seconds that a reader may hold up a writer


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
            ledger = cls(_connect(":memory:"), "ledger in memory", None)
            ledger._connection.executescript(_SCHEMA)
            return ledger
        lock = _claimed(path)
        try:
            with _told(str(path)):
                ledger = cls(_connect(path), str(path), lock)
                ledger._prepare()
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
        with _told(str(path)):
            # Not `mode=ro`: what a killed process left half written has to be rolled back first.
            ledger = cls(_connect(f"{path.resolve().as_uri()}?mode=rw", uri=True), str(path), None)
            ledger._prepare()
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
            with _told(self.name):
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
        with self._turn, _told(self.name):
            return self._connection.execute(sql, values)

    def one(self, sql: str, *values: Any) -> tuple[Any, ...] | None:
        """The first row of a query."""
        return self.execute(sql, *values).fetchone()

    def _all(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.execute(sql, *values).fetchall()

    def _prepare(self) -> None:
        """Make the tables of a new file; check those of an old one."""
        (problem,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if problem != "ok":
            raise LedgerError(f"{self.name}: the ledger is damaged ({problem}); put back a copy of it")
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application != _APPLICATION and self._connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise LedgerError(f"{self.name}: is a database, but not a ledger of qdeq")
        if application != _APPLICATION:
            self._connection.executescript(_SCHEMA)
        elif version != _VERSION:
            raise LedgerError(
                f"{self.name}: was written by another version of qdeq (its schema is {version}, this version's is "
                f"{_VERSION}); use that version"
            )


def _connect(path: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, uri=uri)
    # FULL leaves it to chance whether the last commit survives a loss of power.
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _claimed(path: Path) -> FileLock:
    """The lock beside the file, which the system lets go when the process dies."""
    if not path.parent.is_dir():
        raise LedgerError(f"{path}: there is no folder {path.parent} for the ledger")
    lock = FileLock(path.with_name(f"{path.name}.lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LedgerError(f"{path}: another process works with this ledger; wait until it is done, or end it") from None
    except OSError as error:
        raise LedgerError(f"{path}: the ledger cannot be made there ({error.strerror or error})") from None
    return lock


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Errors of SQLite, told in one sentence."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise LedgerError(f"{name}: the ledger cannot be read or written ({error})") from error
    except sqlite3.DatabaseError as error:
        raise LedgerError(f"{name}: the ledger is damaged, or is none ({error}); put back a copy of it") from error
