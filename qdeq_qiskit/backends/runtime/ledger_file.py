"""The file behind a ledger: its tables, its lock, and what is wrong with it, in one sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from qdeq_qiskit.backends.runtime.errors import LedgerError

_APPLICATION, _VERSION = 0x71646571, 1  # "qdeq"
SCHEMA = f"""
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
_PATIENCE = 30.0  # seconds that a reader may hold up a writer


def prepare(connection: sqlite3.Connection, name: str) -> None:
    """Make the tables of a new file; check those of an old one."""
    (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if problem != "ok":
        raise LedgerError(f"{name}: the ledger is damaged ({problem}); put back a copy of it")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != _APPLICATION and connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
        raise LedgerError(f"{name}: is a database, but not a ledger of qdeq")
    if application != _APPLICATION:
        connection.executescript(SCHEMA)
    elif version != _VERSION:
        raise LedgerError(
            f"{name}: was written by another version of qdeq (its schema is {version}, this version's is "
            f"{_VERSION}); use that version"
        )


def connect(path: Path | str, *, uri: bool = False) -> sqlite3.Connection:
    """The database, in which each statement is committed by itself and what is committed has reached the disk."""
    connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False, uri=uri)
    # FULL leaves it to chance whether the last commit survives a loss of power.
    connection.execute("PRAGMA synchronous = EXTRA")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def claimed(path: Path) -> FileLock:
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
def told(name: str) -> Iterator[None]:
    """Errors of SQLite, told in one sentence."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorname", "") == "SQLITE_READONLY_DBMOVED":
            raise LedgerError(f"{name}: was moved, deleted or replaced while it was in use; put it back") from error
        if "decode" in str(error):
            raise LedgerError(f"{name}: the ledger is damaged ({error}); put back a copy of it") from error
        raise LedgerError(f"{name}: the ledger cannot be read or written ({error})") from error
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        raise LedgerError(f"{name}: the ledger is damaged, or is none ({error}); put back a copy of it") from error
