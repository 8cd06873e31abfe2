"""What the terminal shows while tasks are done."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from qdeq_qiskit.studies.tasks import Outcome


@final
class GroupProgress:
    """A line for each group of tasks, with what is left; nothing moves where the output is no terminal.

    Args:
        console: where; None for nowhere.
        totals: tasks of each group, by its name.
        done: those that were done before.
    """

    def __init__(self, console: Console | None, totals: Mapping[str, int], done: Mapping[str, int]) -> None:
        self._console, self._started = console, time.monotonic()
        self._fresh = dict.fromkeys(totals, 0)
        self._progress: Progress | None = None
        self._lines: dict[str, TaskID] = {}
        if console is not None and console.is_terminal:
            self._progress = Progress(
                TextColumn("[bold]{task.description:<9}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TextColumn("{task.fields[left]}"),
                TimeElapsedColumn(),
                TextColumn("[red]{task.fields[failed]}"),
                console=console,
                refresh_per_second=4,
            )
            for group, total in totals.items():
                line = self._progress.add_task(group, total=total, completed=done[group], left="", failed="")
                self._lines[group] = line
        self._failed = dict.fromkeys(totals, 0)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Draw the lines meanwhile."""
        if self._progress is None:
            yield
            return
        with self._progress:
            yield

    def take(self, outcome: Outcome) -> None:
        """One more task has ended."""
        group = outcome.task.group
        if outcome.error is not None:
            self._failed[group] += 1
            if self._console is not None:
                self._console.print(f"failed: {outcome.task.title}: {outcome.error}", highlight=False, markup=False)
        else:
            self._fresh[group] += 1
        if self._progress is None:
            return
        line = self._lines[group]
        failed = f"{self._failed[group]} failed" if self._failed[group] else ""
        self._progress.update(line, advance=outcome.error is None, failed=failed)
        self._progress.update(line, left=self._left(group))

    def _left(self, group: str) -> str:
        """Time left at the pace of this session; tasks that were done before it say nothing of the pace."""
        assert self._progress is not None
        task = self._progress.tasks[self._lines[group]]
        remaining = int((task.total or 0) - task.completed)
        if not remaining:
            return ""
        seconds = remaining * (time.monotonic() - self._started) / max(1, self._fresh[group])
        minutes, rest = divmod(round(seconds), 60)
        return f"about {minutes}:{rest:02d} left"
