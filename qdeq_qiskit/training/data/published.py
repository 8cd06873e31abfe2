"""Files that a data set's authors publish: where they are looked for, how they are fetched, and never unchecked."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.training.errors import DataError

DATA_DIR_VARIABLE = "QDEQ_DATA_DIR"
TIMEOUT_SECONDS = 30


def chosen_folder(data_dir: Path | None) -> Path | None:
    """The folder that files are read from: the given one, or the environment's; None for the download cache."""
    named = os.environ.get(DATA_DIR_VARIABLE)
    chosen = data_dir or (Path(named) if named else None)
    return chosen.expanduser() if chosen is not None else None


def cache_dir() -> Path:
    """Where downloads are kept."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "qdeq_qiskit"


def found_in(folder: Path, data_set: str, names: Sequence[str]) -> Path:
    """The first of some files that a user's folder holds, itself or in a sub-folder of the data set's name.

    Raises:
        DataError: there is no such folder, or none of the files.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: there is no such folder; {data_set} was to be read from it")
    for name in names:
        for place in (folder / data_set / name, folder / name):
            if place.is_file():
                return place
    others = "".join(f", nor {name}" for name in names[1:])
    raise DataError(
        f"{folder / data_set / names[0]}: there is no such file{others}; {data_set} was to be read from {folder}: put "
        f"it there, or leave out --data-dir and {DATA_DIR_VARIABLE} to download it"
    )


def check(path: Path, checksum: str) -> None:
    """See that a file is the one that was published.

    Raises:
        DataError: it cannot be read, or its SHA-256 is another.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if found != checksum:
        raise DataError(
            f"{path}: is truncated or altered: its SHA-256 is {found}, expected {checksum}; "
            "delete it and fetch it again"
        )


def download(
    name: str, *, data_set: str, checksum: str, mirrors: Sequence[str], path: Path, most_bytes: int = 2**26
) -> None:
    """Fetch a file from the first mirror that has it right; `path` appears complete or not at all.

    Args:
        name: the file's, on every mirror.
        data_set: what it belongs to, for errors.
        checksum: its SHA-256.
        mirrors: addresses of folders, tried in this order.
        path: where it goes.
        most_bytes: what is longer is not read to its end.

    Raises:
        DataError: no mirror has it right, or it cannot be written.
    """
    failures = []
    for mirror in mirrors:
        try:
            content = _fetched(mirror + name, most_bytes)
        except (OSError, ValueError, http.client.HTTPException) as error:
            failures.append(f"{mirror}: {_why(error)}")
            continue
        found = hashlib.sha256(content).hexdigest()
        if found == checksum:
            _keep(path, content)
            return
        failures.append(f"{mirror}: SHA-256 {found}, expected {checksum}")
    raise DataError(
        f"{name} of {data_set} could not be downloaded ({'; '.join(failures)}); with the files in a folder "
        f"of yours, give --data-dir or set {DATA_DIR_VARIABLE}"
    )


def _fetched(address: str, most_bytes: int) -> bytes:
    with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as reply:
        content: bytes = reply.read(most_bytes + 1)
        announced = reply.headers.get("Content-Length", "")
    if len(content) > most_bytes:
        raise ValueError(f"it is longer than {most_bytes:,} bytes")
    if announced.isdecimal() and len(content) < int(announced):
        raise ValueError(f"it broke off after {len(content):,} of {int(announced):,} bytes")
    return content


def _why(error: Exception) -> str:
    """What went wrong in words, without the number that the system gives it."""
    if isinstance(error, urllib.error.HTTPError):
        return str(error)
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return str(cause.strerror or cause) if isinstance(cause, OSError) else str(cause)


def _keep(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None
