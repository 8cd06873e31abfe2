"""How much memory the process has needed, where the system tells."""

from __future__ import annotations

import sys


def peak_memory_mb() -> int | None:
    """The most memory that this process has held, in MB of 2²⁰ bytes; None where the system has no such figure."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    # POSIX leaves the unit open: bytes on macOS, kilobytes on Linux and the BSDs.
    units_in_mb = 1024**2 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_in_mb)
