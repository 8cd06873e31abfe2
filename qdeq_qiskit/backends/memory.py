"""Whether a simulation fits into this computer's memory, asked before any of it is begun."""

from __future__ import annotations

import os
from pathlib import Path

# Building the observables of n qubits holds about so many bytes for each of their 2ⁿ entries (measured at n = 20).
_BYTES_PER_ENTRY = 48
_BYTES_PER_AMPLITUDE = 16
_CGROUP = Path("/sys/fs/cgroup/memory.max")


def check_states(num_qubits: int, num_outputs: int) -> None:
    """Refuses statevectors that do not fit.

    Args:
        num_qubits: n.
        num_outputs: K, the observables.

    Raises:
        ValueError: they take more memory than there is; the message says how much.
    """
    _check(
        f"{num_outputs} observables on states of {num_qubits} qubits", num_outputs * 2**num_qubits * _BYTES_PER_ENTRY
    )


def check_density_matrices(num_qubits: int) -> None:
    """Refuses density matrices that do not fit.

    Raises:
        ValueError: one takes more memory than there is; the message says how much.
    """
    _check(f"the density matrix of {num_qubits} qubits", 4**num_qubits * _BYTES_PER_AMPLITUDE)


def available_bytes() -> int | None:
    """The memory that this process may use at most; None where the system does not say."""
    try:
        installed = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    try:
        limit = _CGROUP.read_text().strip()
    except OSError:
        return installed
    return min(installed, int(limit)) if limit.isdecimal() else installed


def _check(what: str, size: int) -> None:
    limit = available_bytes()
    if limit is not None and size > limit:
        raise ValueError(
            f"{what} take{'s' if what.startswith('the') else ''} about {_gigabytes(size)} of memory, and there are "
            f"{_gigabytes(limit)} here; take fewer num_qubits"
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.0f} GB" if size < 1e18 else f"{size / 1e9:.1e} GB"
