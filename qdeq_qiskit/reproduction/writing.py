"""The files of the tables, written anew after every run, so that whatever ends the command leaves what there is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.reproduction.directory import ReproductionDirectory
from qdeq_qiskit.reproduction.markdown import table_page
from qdeq_qiskit.reproduction.plan import Plan
from qdeq_qiskit.reproduction.table import Line, lines_of, rows_table, runs_table

DRAWING_SHARE = 0.05


@final
class Tables:
    """`table.md`, `table.csv` and `runs.csv`, and the figures, which take longer to make.

    Args:
        plan: what is in them.
        directory: where they go.
    """

    def __init__(self, plan: Plan, directory: ReproductionDirectory) -> None:
        self._plan, self._directory = plan, directory
        self._drawn_at, self._drawing_seconds = -float("inf"), 0.0

    def refresh(self) -> None:
        """Write the tables; draw the figures, unless that would take more than a twentieth of the time."""
        lines = self._write()
        waited = time.monotonic() - self._drawn_at
        if waited * DRAWING_SHARE >= self._drawing_seconds:
            self._draw(lines)

    @contextmanager
    def at_the_end(self) -> Iterator[None]:
        """Write and draw them whatever happens meanwhile."""
        try:
            yield
        finally:
            self._draw(self._write())

    def _write(self) -> list[Line]:
        lines = lines_of(self._plan, self._directory)
        path = self._directory.path
        write_atomically(path / "runs.csv", runs_table(lines).to_csv(index=False))
        write_atomically(path / "table.csv", rows_table(lines, self._plan, self._directory).to_csv(index=False))
        write_atomically(path / "table.md", table_page(self._plan, lines, self._directory))
        return lines

    def _draw(self, lines: list[Line]) -> None:
        from qdeq_qiskit.reproduction.plots import draw_all

        started = time.monotonic()
        draw_all(self._plan, lines, self._directory.figures)
        self._drawn_at = time.monotonic()
        self._drawing_seconds = self._drawn_at - started
