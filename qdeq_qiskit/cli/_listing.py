"""Shipped recipes, as a table."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table

from qdeq_qiskit.recipes import list_recipes


def listing(kinds: Iterable[str]) -> Table:
    """The shipped recipes of some kinds, one line each."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for kind in kinds:
        table.add_row(f"[dim]{kind}/[/]", "")
        for entry in list_recipes(kind):
            table.add_row(f"  {entry.name}", entry.description)
    return table
