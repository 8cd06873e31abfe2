"""Files that appear complete or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that, whenever the process dies, `path` holds the old content or the new one, never a part.

    The content goes to a neighbour of `path`, reaches the disk, and then takes its name.

    Raises:
        OSError: the folder is missing, read-only or full; `path` is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
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
