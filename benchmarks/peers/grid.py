"""Which problems are posed, and to whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .cell import Cell
from .contenders import contenders
from .contenders.exact_layer import PEERS as EXACT
from .contest import History, Limits, Reference, hold
from .peer import Peer
from .points import points_for
from .problem import Encoding

ENCODINGS: tuple[Encoding, ...] = ("amplitude", "angle")
FULL = ((2, 256), (4, 1), (4, 16), (4, 256), (4, 4096), (6, 256), (8, 256))
QUICK = ((4, 16),)
"""(qubits, batch): against the batch at 4 qubits, against the qubits at batch 256."""


def limits(*, quick: bool) -> Limits:
    """Ten minutes for all on one core; a minute if quick."""
    return Limits(call=0.5, turns=0.02, most=3) if quick else Limits(call=4.0, turns=0.4, most=40)


def cells(
    *,
    quick: bool,
    peers: Sequence[Peer] | None = None,
    sizes: Sequence[tuple[int, int]] | None = None,
    encodings: Sequence[Encoding] = ENCODINGS,
) -> Iterator[Cell]:
    """Every peer's cells on every problem.

    Args:
        quick: a small grid, few turns.
        peers: all of `contenders` if None.
        sizes: (qubits, batch); the usual ones if None.
        encodings: of the features.
    """
    from .circuits import problem_of

    chosen = contenders() if peers is None else peers
    history = History()
    for encoding in encodings:
        for qubits, batch in sizes or (QUICK if quick else FULL):
            problem = problem_of(encoding, qubits)
            points = points_for(problem, batch)
            reference = Reference(EXACT[0], replace(EXACT[0], penalised=False), problem, points)
            yield from hold(problem, points, chosen, reference, limits(quick=quick), history)
