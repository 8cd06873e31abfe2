"""How much memory the process has needed, where the system tells."""

from __future__ import annotations

import ctypes
import gc
import importlib
import re
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch

PROCESS = Path("/proc/self")
IMPORTED_LATE = (
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.pipeline",
    "sklearn.preprocessing",
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.summary.writer.record_writer",
)
_RESET_PEAK = "5"  # proc_pid_clear_refs(5): "reset the peak resident set size to the current one"
_earlier_peaks_mb = 0


def peak_memory_mb() -> int | None:
    """The most memory that this process has held, in MB of 2²⁰ bytes; None where the system has no such figure."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    # POSIX leaves the unit open: bytes on macOS, kilobytes on Linux and the BSDs.
    units_in_mb = 1024**2 if sys.platform == "darwin" else 1024
    return max(_earlier_peaks_mb, round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / units_in_mb))


def gpu_memory(device: torch.device) -> dict[str, int]:
    """The most memory that this process's tensors have held on a GPU, in MB of 2²⁰ bytes, under its key; nothing on a
    CPU. The CUDA context is not in it, nor what other libraries hold there.
    """
    if device.type != "cuda":
        return {}
    return {"gpu_peak_memory_mb": round(torch.cuda.max_memory_allocated(device) / 1024**2)}


@dataclass(frozen=True)
class MemoryMark:
    """What the process held when something began, to say how much that thing added at its worst.

    Linux alone can tell, since there the high-water mark can be set back: a process that trained something larger
    before would otherwise hide all that comes after.

    Attributes:
        held_mb: resident memory at the beginning, in MB; None where the system does not tell.
        earlier_mb: what was added before an interruption.
    """

    held_mb: float | None
    earlier_mb: float = 0.0

    @classmethod
    def set(cls) -> Self:
        """Begin here, with the libraries that a run imports late in memory, and without what earlier work has freed."""
        global _earlier_peaks_mb
        for name in IMPORTED_LATE:
            importlib.import_module(name)
        before = peak_memory_mb()
        gc.collect()
        with suppress(OSError, AttributeError):  # glibc's: others have their own ways, or none
            ctypes.CDLL(None).malloc_trim(0)
        try:
            (PROCESS / "clear_refs").write_text(_RESET_PEAK, encoding="ascii")
        except OSError:
            return cls(None)
        _earlier_peaks_mb = before or 0
        held, peak = _in_mb("VmRSS"), _in_mb("VmHWM")
        if held is None or peak is None or peak - held > _TOLERATED_MB:  # a kernel that pretends to have obeyed
            return cls(None)
        return cls(held)

    def added_mb(self) -> float | None:
        """The most memory held since then, over what was held then, in MB; None where the system does not tell."""
        peak = _in_mb("VmHWM")
        return None if self.held_mb is None or peak is None else round(max(self.earlier_mb, peak - self.held_mb), 1)

    def after(self, earlier_mb: float | None) -> Self:
        """The same where something was done before an interruption that added so much; None where that is unknown."""
        return replace(self, held_mb=None) if earlier_mb is None else replace(self, earlier_mb=earlier_mb)


_TOLERATED_MB = 8


def _in_mb(name: str) -> float | None:
    """A figure of `/proc/self/status`, which is given there in kB of 2¹⁰ bytes."""
    with suppress(OSError):
        found = re.search(rf"^{name}:\s*(\d+) kB$", (PROCESS / "status").read_text(encoding="utf-8"), re.MULTILINE)
        return None if found is None else int(found[1]) / 1024
    return None
