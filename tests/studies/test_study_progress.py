"""What is seen of a study while it runs."""

from __future__ import annotations

import io

from rich.console import Console

from qdeq_qiskit.studies.progress import GroupProgress
from qdeq_qiskit.studies.tasks import Outcome, Task


def outcome(group: str, error: str | None = None) -> Outcome:
    return Outcome(Task("key", print, (), "a title", group=group), error=error)


def shown(*, terminal: bool, outcomes: list[Outcome]) -> str:
    written = io.StringIO()
    console = Console(file=written, force_terminal=terminal, width=120, legacy_windows=False)
    progress = GroupProgress(console, {"trainings": 2, "cells": 40}, {"trainings": 2, "cells": 10})
    with progress.shown():
        for each in outcomes:
            progress.take(each)
    return written.getvalue()


def test_a_terminal_shows_what_is_done_and_failed_and_the_time_left() -> None:
    last = shown(terminal=True, outcomes=[outcome("cells")] * 5 + [outcome("cells", "it broke")]).replace("\x1b", "")
    assert "2/2" in last
    assert "15/40" in last
    assert "1 failed" in last
    assert "left" in last
    assert "failed: a title: it broke" in last


def test_a_pipe_is_told_of_failures_alone() -> None:
    assert shown(terminal=False, outcomes=[outcome("trainings"), outcome("cells")]) == ""
    told = shown(terminal=False, outcomes=[outcome("cells", "it broke")])
    assert told == "failed: a title: it broke\n"
