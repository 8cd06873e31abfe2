"""The figure of the process's memory, on systems that are not this one."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from qdeq_qiskit.training.peak_memory import peak_memory_mb


@pytest.mark.parametrize(("system", "reported"), [("linux", 300 * 1024), ("darwin", 300 * 1024**2)])
def test_the_figure_is_in_megabytes_whatever_unit_the_system_counts_in(
    system: str, reported: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=reported))
    monkeypatch.setitem(sys.modules, "resource", fake)
    monkeypatch.setattr(sys, "platform", system)
    assert peak_memory_mb() == 300


def test_a_system_without_the_figure_has_none_and_trains_all_the_same() -> None:
    # `None` in sys.modules makes an import fail, as it does on Windows.
    script = (
        "import torch, lightning.pytorch, sys; sys.modules['resource'] = None\n"
        "import qdeq_qiskit.training.fit; from qdeq_qiskit.training.peak_memory import peak_memory_mb\n"
        "print(peak_memory_mb())"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["None"]
