"""The commands that read recipes, stopped where the long work would begin, and held to time and memory."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from command_line import qdeq

TINY = """
description: "a tiny run"
data: {name: digits, classes: [0, 3, 6], limit: 20}
circuit: qdeq4-amplitude
backend: {kind: exact}
model: {features: {pool: {kernel: 2}}}
optimisation: {epochs: 1, batch_size: 16}
"""
MOST_SECONDS = 5.0
MOST_BYTES = 1_000_000_000


class ReachedError(Exception):
    """The recipe was accepted, and everything was set up."""


class HangError(BaseException):
    """A command that takes too long; nothing that a command may answer."""


@dataclass(frozen=True)
class Answer:
    """What a command came to.

    Attributes:
        accepted: whether the long work would have begun.
        code: the exit code.
        message: the last line on standard error, without the command's name.
        exception: what it ended with, if neither with an answer nor before the long work.
    """

    accepted: bool
    code: int
    message: str
    exception: BaseException | None


def stop_before_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command end where training, evaluation or a cluster would begin."""

    def reached(*_: Any, **__: Any) -> None:
        raise ReachedError

    monkeypatch.setattr("qdeq_qiskit.training.fit.run_epochs", reached)
    monkeypatch.setattr("qdeq_qiskit.training.evaluate_run.evaluate", reached)
    monkeypatch.setattr("qdeq_qiskit.studies.cluster.cluster", reached)


def answer_of(*arguments: object) -> Answer:
    """Run a command; a hang or a blow-up of memory is an exception in the answer."""
    with _bounded():
        result = qdeq(*arguments)
    accepted = isinstance(result.exception, ReachedError)
    lines = result.stderr.strip().splitlines()
    ended = isinstance(result.exception, SystemExit) or result.exception is None or accepted
    last = lines[-1] if lines else ""
    return Answer(accepted, result.exit_code, last.removeprefix("qdeq: "), None if ended else result.exception)


def arguments_for(kind: str, path: Path, *, run: Path, tiny: Path) -> tuple[object, ...]:
    """The command that takes a recipe of a kind."""
    return {
        "training": ("fit", path),
        "circuits": ("fit", tiny, "--set", f"circuit={path}"),
        "backends": ("evaluate", run, "--samples", 3, "--backend", path),
        "noise": ("evaluate", run, "--samples", 3, "--noise", path),
        "studies": ("study", path),
    }[kind]


@contextmanager
def _bounded() -> Iterator[None]:
    """At most so much time and so much more memory."""

    def hang(*_: Any) -> None:
        raise HangError(f"took more than {MOST_SECONDS} s of the processor")

    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MOST_BYTES, before[1]))
    main = threading.current_thread() is threading.main_thread()
    if main:
        previous = signal.signal(signal.SIGPROF, hang)
        signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    try:
        yield
    finally:
        if main:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, previous)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 2**30
    return pages * resource.getpagesize()
