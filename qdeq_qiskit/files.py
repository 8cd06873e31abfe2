"""Files that appear complete or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, final

_UNFINISHED = ".part"


@final
class CannotWriteError(OSError):
    """A file that cannot be written: the message is a sentence, `errno` and `filename` are those of the system."""

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written: {self.strerror}"


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that, whenever the process dies, `path` holds the old content or the new one, never a part.

    The content goes to a neighbour of `path`, reaches the disk, and then takes its name.

    Raises:
        CannotWriteError: (an OSError) the folder is missing, read-only or full; `path` is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        _write(path, data)
    except OSError as error:
        raise CannotWriteError(error.errno, error.strerror or str(error), str(path)) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds anything else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("it holds no mapping")
    return content


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writers left in a folder; nobody may be writing there meanwhile."""
    for path in folder.glob(f".*{_UNFINISHED}"):
        path.unlink(missing_ok=True)


def is_unfinished(path: Path) -> bool:
    """Whether a file is one that a writer was killed in the middle of."""
    return path.name.startswith(".") and path.suffix == _UNFINISHED


def _write(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=_UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_UMASK)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


# Reading the mask means setting it; done once at import, while there is one thread.
_UMASK = os.umask(0)
os.umask(_UMASK)
