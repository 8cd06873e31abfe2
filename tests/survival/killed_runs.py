"""Runs in forked children that die in the middle of a step, and what of a run must not depend on that."""

from __future__ import annotations

import csv
import faulthandler
import json
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from safetensors.numpy import load_file

from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.training import RunDirectory, TrainingRecipe
from qdeq_qiskit.training.fit import fit, resume

RECIPE = """
data: {name: digits, classes: [0, 3], limit: 24}
circuit: qdeq4-amplitude
backend: {kind: exact}
model: {features: {pool: {kernel: 2}}, dropout: 0.3}
optimisation: {epochs: 2, batch_size: 16, learning_rate: 0.05}
seed: 5
"""
CLOCK = {"seconds", "train_seconds", "ms_per_step", "peak_memory_mb", "cpu_seconds", "added_memory_mb"}
KILLED = -signal.SIGKILL
Moment = int | tuple[str, int] | None


def small_recipe(folder: Path, *changes: str) -> TrainingRecipe:
    """The recipe of a run that takes a tenth of a second an epoch."""
    path = folder / "small.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    return TrainingRecipe.load(path, changes)


def without_clock(tree: Any) -> Any:
    """A result without what wall clocks and memory say."""
    if not isinstance(tree, dict):
        return tree
    return {key: without_clock(value) for key, value in tree.items() if key not in CLOCK}


def numbers_of(directory: RunDirectory) -> dict[str, Any]:
    """All that a run ended in, every bit of it, but for what wall clocks say."""
    with directory.history.open(newline="") as file:
        history = [without_clock(row) for row in csv.DictReader(file)]
    test = {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in load_file(directory.test).items()}
    del test["seconds"]
    return {
        "weights": (directory.model / "model.safetensors").read_bytes(),
        "model": (directory.model / "model.yaml").read_bytes(),
        "history": history,
        "test": test,
        "result": without_clock(json.loads((directory.path / "result.json").read_text())),
    }


def entries(directory: RunDirectory) -> set[str]:
    """Every file of a run, but TensorBoard's, of which each process writes one."""
    files = (str(path.relative_to(directory.path)) for path in directory.path.rglob("*") if path.is_file())
    return {name for name in files if not name.startswith("tensorboard/")}


def logged_steps(directory: RunDirectory) -> list[int]:
    """The steps at which TensorBoard shows the validation loss."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory.tensorboard))
    events.Reload()
    return [event.step for event in events.Scalars("valid_loss")]


# Children are forked from a server that has imported what takes long and has done nothing else: a fork of a process in
# which libraries have started threads may wait for them for ever.
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["qdeq_qiskit.training.fit"])


def in_child(action: Callable[..., object], *arguments: object) -> int:
    """The exit code of a child that does something: 0, 1 with a traceback, or minus the signal's number."""
    process = _FORKS.Process(target=_act, args=(action, *arguments))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _act(action: Callable[..., object], *arguments: object) -> None:
    faulthandler.dump_traceback_later(120, exit=True)
    draw_quickly()
    action(*arguments)


def draw_quickly() -> None:
    """Reports are a line, written as reports are: drawing takes longer than a small run does to train."""
    from qdeq_qiskit.training import report

    report.write_report = _write_report


def _write_report(directory: RunDirectory, splits: object) -> Path:
    write_atomically(directory.report, "<html></html>")
    return directory.report


def fit_counting(recipe: TrainingRecipe, out: Path, at: Moment = None) -> None:
    """A run that dies at a step; without one it ends, and its steps are beside it."""
    steps = Steps(at)
    steps.install()
    fit(recipe, out=out)
    out.with_suffix(".steps").write_text("\n".join(steps.done))


def resume_counting(out: Path, at: Moment = None) -> None:
    """A run that is continued, and dies at a step."""
    Steps(at).install()
    resume(out)


class Steps:
    """Counts what a process does to files; may kill it, or fail, at one of them.

    Args:
        at: the step to die at, from 0, or its name and which of that name, from 1; None for never.
        failure: raised in the place of dying, from that step on.
    """

    def __init__(self, at: Moment = None, *, failure: OSError | None = None) -> None:
        self.done: list[str] = []
        self._at, self._failure, self._reached = at, failure, False
        self._originals = {
            name: getattr(module, name) for module, name in ((os, "fsync"), (os, "replace"), (tempfile, "mkstemp"))
        }

    def __enter__(self) -> Self:
        self.install()
        return self

    def __exit__(self, *_: object) -> None:
        for module, name in ((os, "fsync"), (os, "replace"), (tempfile, "mkstemp")):
            setattr(module, name, self._originals[name])

    def install(self) -> None:
        """Begin to count; as a context manager, for a while."""
        os.fsync = self._fsync  # type: ignore[assignment]
        os.replace = self._replace
        tempfile.mkstemp = self._mkstemp  # type: ignore[assignment]

    def _fsync(self, file: int) -> None:
        if self._is_last("fsync"):  # half of the file is on the disk
            os.ftruncate(file, os.fstat(file).st_size // 2)
            self._end()
        self._originals["fsync"](file)

    def _replace(self, source: Any, target: Any) -> None:
        if self._is_last(f"replace {Path(target).name}"):
            self._end(str(target))
        self._originals["replace"](source, target)

    def _mkstemp(self, *args: Any, **options: Any) -> Any:
        if self._is_last("mkstemp"):
            self._end()
        return self._originals["mkstemp"](*args, **options)

    def _is_last(self, name: str) -> bool:
        self.done.append(name)
        now: tuple[Moment, ...] = (len(self.done) - 1, (name, self.done.count(name)))
        self._reached = (self._reached and self._failure is not None) or self._at in now
        return self._reached

    def _end(self, *names: str) -> None:
        if self._failure is not None:
            raise OSError(self._failure.errno, self._failure.strerror, *names)
        os.kill(os.getpid(), signal.SIGKILL)
