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
_END = 22  # bytes of the record that an archive without a comment ends with


def sealed(archive: bytes) -> bytes:
    """A ZIP archive without a comment, with its digest for one."""
    assert archive.endswith(_NO_COMMENT)
    return archive[:-2] + struct.pack("<H", _LENGTH) + _PREFIX + hashlib.sha256(archive).hexdigest().encode()


def unsealed(content: bytes) -> bytes | None:
    """The archive of a sealed one; None if it is not the one that was sealed.

    Earlier versions sealed none: an archive without any comment is taken as it is.
    """
    if content[-_END : -_END + 4] == b"PK\x05\x06" and content.endswith(_NO_COMMENT):
        return content
    archive = content[: -_LENGTH - 2] + _NO_COMMENT
    return archive if content == sealed(archive) else None
