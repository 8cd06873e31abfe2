"""ZIP archives, as torch writes them, that carry their own SHA-256: a single bit that has changed is noticed.

torch does not compare the checksums of an archive that it reads, so damaged weights would be taken for good ones. The
digest stands in the archive's comment, so the file stays one that `torch.load` can read.
"""

from __future__ import annotations

import hashlib
import struct

_PREFIX = b"sha256:"
_LENGTH = len(_PREFIX) + 64
_NO_COMMENT = struct.pack("<H", 0)  # an archive ends with the length of its comment, then the comment


def sealed(archive: bytes) -> bytes:
    """A ZIP archive without a comment, with its digest for one."""
    assert archive.endswith(_NO_COMMENT)
    return archive[:-2] + struct.pack("<H", _LENGTH) + _PREFIX + hashlib.sha256(archive).hexdigest().encode()


def unsealed(content: bytes) -> bytes | None:
    """The archive of a sealed one; None if it is not the one that was sealed."""
    archive = content[: -_LENGTH - 2] + _NO_COMMENT
    return archive if content == sealed(archive) else None
