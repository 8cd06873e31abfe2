"""The rows as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from .machine import describe_machine, load_average
from .row import Row

RESULTS = Path(__file__).parent / "results"
_COLOURS = {"met": "green", "missed": "red", "not measured": "yellow", "": ""}


def table(rows: Sequence[Row]) -> Table:
    """Figure, target, ratio, verdict; times are medians, the least in brackets."""
    made = Table(title="Measurements", title_justify="left", title_style="bold", header_style="bold")
    made.add_column("name", no_wrap=True)
    made.add_column("what")
    made.add_column("figure (least)", justify="right", no_wrap=True)
    made.add_column("target", justify="right", no_wrap=True)
    made.add_column("times better than", justify="right")
    made.add_column("verdict")
    for row in rows:
        peer = row.peer_name if row.ratio is None else f"{_number(row.ratio, '×')}× {row.peer_name}"
        colour = _COLOURS[row.verdict]
        verdict = f"[{colour}]{row.verdict}[/]" if colour else row.verdict
        made.add_row(row.name, row.what, _figure(row), _target(row), peer, verdict)
    return made


def write(rows: Sequence[Row], path: Path | None = None) -> Path:
    """Write machine, versions and rows; returns where."""
    path = path or RESULTS / f"{datetime.now(UTC):%Y-%m-%d-%H%M%S}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = content_of(rows)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def content_of(rows: Sequence[Row]) -> dict[str, Any]:
    """What the JSON file holds: machine, versions, command and rows."""
    return {
        "measured": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(("python -m benchmarks", *sys.argv[1:])),
        "machine": describe_machine(),
        "load_average_at_the_end": load_average(),
        "rows": [row.record() for row in rows],
    }


def figures_table(rows: Sequence[Row], machine: dict[str, Any]) -> str:
    """The rows as Markdown, and what they were measured on."""
    lines = ["| what | measured | target | times better than |", "|---|---|---|---|"]
    for row in rows:
        peer = row.peer_name if row.ratio is None else f"**{_number(row.ratio, '×')}×** {row.peer_name}"
        lines.append(f"| {row.what} | {_figure(row)} | {_target(row)} | {peer} |")
    versions = ", ".join(f"{name} {machine['versions'][name]}" for name in ("qiskit", "qiskit-aer", "torch"))
    lines.append(f"\n{machine['cpu']}, one thread; median of repetitions (least in brackets); {versions}.")
    return "\n".join(lines)


def _figure(row: Row) -> str:
    if row.figure is None:
        return f"({row.note})"
    timing = row.details.get("timing")
    least = f" ({_number(timing['min_ms'], row.unit)})" if timing else ""
    return f"{_number(row.figure, row.unit)} {row.unit}{least}".replace(" ×", "×").strip()


def _target(row: Row) -> str:
    if row.target is None:
        return ""
    sign = "≤" if row.better == "lower" else "≥"
    return f"{sign} {_number(row.target, row.unit)} {row.unit}".replace(" ×", "×").strip()


def _number(value: float, unit: str) -> str:
    if not unit:  # a fraction
        return f"{value:.3f}"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
