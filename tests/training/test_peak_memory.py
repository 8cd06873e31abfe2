"""The figure of the process's memory, on systems that are not this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from qdeq_qiskit.training import TrainingRecipe, peak_memory
from qdeq_qiskit.training.checkpoints import KeepCheckpoints, PlainCheckpointIO, read_checkpoint
from qdeq_qiskit.training.fit import fit, resume
from qdeq_qiskit.training.peak_memory import MemoryMark, peak_memory_mb


@pytest.mark.parametrize(("system", "reported"), [("linux", 300 * 1024), ("darwin", 300 * 1024**2)])
def test_the_figure_is_in_megabytes_whatever_unit_the_system_counts_in(
    system: str, reported: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=reported))
    monkeypatch.setitem(sys.modules, "resource", fake)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(peak_memory, "_earlier_peaks_mb", 0)
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


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")


@on_linux
def test_what_came_before_does_not_hide_what_something_adds() -> None:
    for megabytes in (300, 60):  # the larger one first
        mark = MemoryMark.set()
        held = np.ones(megabytes * 2**17)
        del held
        added = mark.added_mb()
        assert added is not None
        assert megabytes - 2 <= added <= megabytes + 20
    whole = peak_memory_mb()
    assert whole is not None
    assert mark.held_mb is not None
    assert whole >= mark.held_mb + 250, "the figure of the whole process is not set back"


def test_a_system_that_does_not_set_back_its_figure_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peak_memory, "PROCESS", tmp_path / "missing")
    assert MemoryMark.set().added_mb() is None
    monkeypatch.setattr(peak_memory, "PROCESS", tmp_path)  # takes what is written, and does nothing
    (tmp_path / "status").write_text("VmHWM:\t  900000 kB\nVmRSS:\t  500000 kB\n")
    assert MemoryMark.set().added_mb() is None
    (tmp_path / "status").write_text("VmHWM:\t  512000 kB\nVmRSS:\t  512000 kB\n")
    mark = MemoryMark.set()
    (tmp_path / "status").write_text("VmHWM:\t  768000 kB\nVmRSS:\t  512000 kB\n")
    assert mark.added_mb() == 250
    assert mark.after(300.0).added_mb() == 300
    assert mark.after(None).added_mb() is None


@on_linux
@pytest.mark.usefixtures("without_report")
def test_an_interrupted_run_counts_its_clock_and_its_memory_over_all_processes(
    tiny: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = interrupted_after(2, tiny, tmp_path / "run", monkeypatch)
    checkpoint = read_checkpoint(tmp_path / "run" / "checkpoints" / "last.ckpt")
    state = checkpoint["callbacks"][KeepCheckpoints.__qualname__]
    assert state["added_memory_mb"] >= 0
    state["added_memory_mb"] = 7777.5
    for row in checkpoint["qdeq"]["history"]:
        row["cpu_seconds"] = 1000.0
    PlainCheckpointIO().save_checkpoint(checkpoint, run / "checkpoints" / "last.ckpt")
    result = resume(run, report=False).result()
    assert result["added_memory_mb"] == 7777.5
    assert 2000 < result["cpu_seconds"] < 2030


@pytest.mark.usefixtures("without_report")
def test_a_run_that_an_earlier_version_began_is_resumed_without_the_figures_that_it_did_not_keep(
    tiny: TrainingRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = interrupted_after(2, tiny, tmp_path / "run", monkeypatch)
    checkpoint = read_checkpoint(run / "checkpoints" / "last.ckpt")
    del checkpoint["callbacks"][KeepCheckpoints.__qualname__]["added_memory_mb"]
    for row in checkpoint["qdeq"]["history"]:
        del row["cpu_seconds"]
    PlainCheckpointIO().save_checkpoint(checkpoint, run / "checkpoints" / "last.ckpt")
    directory = resume(run, report=False)
    result = directory.result()
    assert result["cpu_seconds"] is None
    assert result["added_memory_mb"] is None
    assert len(directory.epochs()) == tiny.optimisation.epochs


def interrupted_after(epochs: int, recipe: TrainingRecipe, path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that ended after some epochs, with their checkpoints."""
    keep = KeepCheckpoints.on_train_epoch_end

    def stop(self: KeepCheckpoints, trainer: object, task: object) -> None:
        keep(self, trainer, task)  # type: ignore[arg-type]
        if len(task.history) == epochs:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(KeepCheckpoints, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe, out=path, report=False)
    return path
