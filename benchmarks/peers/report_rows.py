"""The comparison as rows of `python -m benchmarks`: the headlines, and everything else for the JSON file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ..row import Row
from .cell import Cell
from .contenders import contenders
from .grid import cells
from .largest import OURS, largest_cells
from .peer import Peer
from .solvers import solver_records, versions

NAME = "peers"
_WORDS = {"forward": "expectation values", "jacobian": "Jacobian ∂f/∂v", "step": "full training step"}


def peer_rows(*, quick: bool) -> Iterator[Row]:
    """One row for each operation on the problems of the grid's corners, then one that holds it all."""
    measured = [*cells(quick=quick), *(() if quick else largest_cells(quick=False))]
    records = [cell.record() for cell in measured]
    yield from headlines(measured)
    solvers = [record.record() for record in solver_records(quick=quick)]
    yield Row(
        NAME,
        "all cells of the comparison",
        float(sum(record["ms"] is not None for record in records)),
        "cells",
        note="in `details`: every peer, problem and operation, or why it was not measured",
        details={"cells": records, "solvers": solvers, "peers": describe(contenders()), "quick": quick},
    )


def headlines(measured: Sequence[Cell]) -> Iterator[Row]:
    """Ours against the fastest peer, in single precision, for every problem of the middle batch."""
    ours = {cell.contest: cell for cell in measured if cell.peer == OURS and cell.precision == "single" and cell.timing}
    for contest, cell in ours.items():
        others = [each for each in measured if each.contest == contest and not each.ours and each.timing]
        if not others or contest.qubits not in (4, 8, 10) or contest.batch not in (16, 256):
            continue
        fastest = min(others, key=lambda each: each.timing.median if each.timing else 0.0)
        assert cell.timing is not None
        assert fastest.timing is not None
        yield Row(
            f"peers-{contest.operation}-{contest.encoding}-{contest.qubits}q-{contest.batch}",
            f"{_WORDS[contest.operation]}, {contest.encoding} encoding, {contest.qubits} qubits, batch {contest.batch}",
            cell.timing.median,
            "ms",
            peer=fastest.timing.median,
            peer_name=f"the fastest other: {fastest.peer} ({fastest.precision} precision)",
            note="ours in single precision, weights new with every call",
            details={"timing": cell.timing.summary(), "peer_timing": fastest.timing.summary()},
        )


def describe(peers: Sequence[Peer]) -> list[dict[str, Any]]:
    """Names, versions, and what is not there."""
    named: list[dict[str, Any]] = [
        {"name": peer.name, "missing": peer.missing(), "versions": peer.versions()} for peer in peers
    ]
    return [*named, {"name": "torchdeq", "missing": None if versions() else "not installed", "versions": versions()}]
