"""`python -m benchmarks`: measure, print a table, write JSON."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from rich.console import Console

from .publish import publish
from .report import content_of, table, write
from .row import Row

# Quick subjects first, so that something is to be seen soon.
SUBJECTS = (
    "training_step",
    "ten_qubits",
    "stock_connector",
    "jacobian",
    "memory",
    "training_memory",
    "engines",
    "product_choice",
    "amplitude_choice",
    "noise",
    "hardware",
    "peers",
    "whole_runs",
)


def main() -> None:
    """Run the chosen subjects."""
    options = parsed()
    console = Console() if Console().is_terminal else Console(width=150)
    # Before torch is imported; the targets are for one thread.
    if os.environ.setdefault("OMP_NUM_THREADS", "1") != "1":
        console.print("[yellow]OMP_NUM_THREADS is not 1: these figures are not for a single thread[/]")
    rows: list[Row] = []
    try:
        for subject in options.only or SUBJECTS:
            with console.status(f"measuring {subject}"):
                rows += importlib.import_module(f"benchmarks.{subject}").rows(quick=options.quick)
    finally:  # what was measured before a failure or Ctrl-C is worth keeping
        console.print(table(rows))
        path = write(rows, options.output)
        console.print(str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path), highlight=False)
    if options.publish:
        publish(content_of(rows), Path.cwd())


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command's options; those of this process if None."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measurements of qdeq_qiskit.")
    parser.add_argument(
        "--only", action="append", type=_subject, metavar="NAME", help=f"one subject: {', '.join(SUBJECTS)}"
    )
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: to see that it runs, not to quote")
    parser.add_argument("--output", type=Path, metavar="FILE", help="JSON file [default: benchmarks/results/...]")
    parser.add_argument(
        "--publish",
        action="store_true",
        help="also put the tables and the picture into docs/benchmarks.md and README.md",
    )
    options = parser.parse_args(arguments)
    if options.publish and options.only and set(options.only) not in ({"peers"}, set(SUBJECTS) - {"peers"}):
        parser.error(
            f"argument --publish: it replaces whole tables, so expected no --only, or --only peers; "
            f"got --only {' --only '.join(options.only)}"
        )
    return options


def _subject(name: str) -> str:
    name = name.replace("-", "_")
    if name in SUBJECTS:
        return name
    near = get_close_matches(name, SUBJECTS, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(SUBJECTS)}{hint}")


if __name__ == "__main__":
    main()
