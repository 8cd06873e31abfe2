"""Arrays as bytes in a table, read back without running anything that they might hold."""

from __future__ import annotations

import io
import tokenize
import zipfile
import zlib

import numpy as np

from qdeq_qiskit.backends.runtime.errors import LedgerError

_DAMAGE = (
    *(ValueError, OSError, EOFError, TypeError, KeyError, MemoryError, NotImplementedError, RuntimeError),
    *(zipfile.BadZipFile, zlib.error, tokenize.TokenError),
)


def npy(array: np.ndarray) -> bytes:
    """One array."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return file.getvalue()


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    """Arrays by name."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **arrays)
    return file.getvalue()


def read_npy(content: bytes, where: str) -> np.ndarray:
    """What `npy` wrote.

    Raises:
        LedgerError: it is damaged; the message says `where`.
    """
    try:
        return _numbers(np.load(io.BytesIO(content), allow_pickle=False))
    except _DAMAGE as error:
        raise LedgerError(f"{where}: the recorded angles are damaged ({error})") from None


def read_npz(content: bytes, where: str) -> dict[str, np.ndarray]:
    """What `npz` wrote.

    Raises:
        LedgerError: it is damaged; the message says `where`.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            return {name: _numbers(file[name]) for name in file.files}
    except _DAMAGE as error:
        raise LedgerError(f"{where}: the stored outcome is damaged ({error})") from None


def _numbers(found: object) -> np.ndarray:
    if not isinstance(found, np.ndarray) or found.dtype.kind not in "bif":
        raise ValueError("they are no numbers")
    return found
