"""Reproductions without a cluster, which takes longer to start than a tiny row to train."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tiny_reproduction import write_reproduction

from qdeq_qiskit.reproduction import reproduce
from qdeq_qiskit.studies.bookkeeping import Bookkeeping
from qdeq_qiskit.studies.tasks import Outcome, Task


def one_after_another(
    tasks: Sequence[Task],
    *,
    totals: Mapping[str, int],
    books: Bookkeeping,
    on_outcome: Callable[[Outcome], None],
    **_: Any,
) -> None:
    """What the cluster does, in this process."""
    assert {task.group for task in tasks} <= set(totals)
    for task in tasks:
        try:
            task.function(*task.arguments)
        except Exception as error:
            outcome = Outcome(task, f"{type(error).__name__}: {error}")
            books.record_failure(task.key, str(outcome.error), "")
        else:
            outcome = Outcome(task)
            books.forget_failure(task.key)
        on_outcome(outcome)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks are done in this process, and no figures are drawn."""
    monkeypatch.setattr("qdeq_qiskit.reproduction.reproducing.compute", one_after_another)
    monkeypatch.setattr("qdeq_qiskit.reproduction.plots.draw_all", lambda *_: None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_reproduction(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny reproduction, not to be changed; its recipes are beside it."""
    folder = tmp_path_factory.mktemp("reproduction")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("qdeq_qiskit.reproduction.reproducing.compute", one_after_another)
        reproduce(write_reproduction(folder), out=folder / "out")
    return folder / "out"


@pytest.fixture
def mine(finished: Path, tmp_path: Path) -> Path:
    """A finished reproduction of one's own, beside its recipes."""
    write_reproduction(tmp_path)
    return Path(shutil.copytree(finished, tmp_path / "out"))
