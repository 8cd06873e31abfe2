"""The paper's largest model, 10 qubits and 100 amplitudes, in other libraries and in this one.

In a process of its own, whose memory goes back when it ends: the step through PennyLane holds some 2 GB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import lru_cache
from multiprocessing import get_context

from ..row import Row
from .cell import Cell
from .contenders import contenders
from .contenders.exact_layer import PEERS as EXACT
from .contest import History, Limits, Reference, hold
from .layer_peer import LayerPeer
from .other_interpreter import OtherInterpreterPeer
from .peer import Operation, Peer
from .points import points_for

OURS = EXACT[0].name
QUBITS, BATCH, QUICK_BATCH = 10, 256, 8
AT_ONCE = {"PennyLane default.qubit, backprop": 128}
"""Samples whose graph is held: that of all 256, with the penalty, is 3.5 GB."""
TIMES_FASTER = 50
"""Than the same step in PennyLane, at least."""
WAYS = {
    "PennyLane default.qubit, backprop": ("pennylane", "the same step in PennyLane default.qubit with torch"),
    "PennyLane default.qubit, torchdeq": (
        "pennylane-torchdeq",
        "a step in PennyLane default.qubit with torchdeq, without penalty",
    ),
    "TorchQuantum": ("torchquantum", "the same step in TorchQuantum"),
    "TorchQuantum, torchdeq": ("torchquantum-torchdeq", "a step in TorchQuantum with torchdeq, without penalty"),
}
"""Other ways to make the step: a short name, and in words."""
_SHORT = Limits(call=4.0, turns=0.4, most=40)
_STEPS = Limits(call=60.0, turns=7.0, most=40)
_QUICK = Limits(call=4.0, turns=0.2, most=10)


def ratio_rows(*, quick: bool) -> Iterator[Row]:
    """How many times as long as ours the step takes in every other way, after asserting equal gradients."""
    return rows_of(largest_cells(quick=quick))


@lru_cache
def largest_cells(*, quick: bool) -> tuple[Cell, ...]:
    """Everybody's cells, measured once and in another process.

    Raises:
        AssertionError: a peer's numbers are not ours.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(measured, quick=quick).result()


def measured(*, quick: bool) -> tuple[Cell, ...]:
    """The cells: of the step alone if quick."""
    peers = [as_entered(peer) for peer in contenders() if "single" in peer.precisions]
    if quick:
        peers = [peer for peer in peers if peer.name in (OURS, *WAYS)]
        return tuple(_cells(peers, QUICK_BATCH, _QUICK, ("step",)))
    short = _cells(peers, BATCH, _SHORT, ("forward", "jacobian"))
    return (*short, *_cells(peers, BATCH, _STEPS, ("step",)))


def as_entered(peer: Peer) -> Peer:
    """The same in single precision alone, in double what is held would be twice as much, and in parts if need be."""
    if isinstance(peer, LayerPeer):
        return replace(peer, precisions=("single",), at_once=AT_ONCE.get(peer.name))
    assert isinstance(peer, OtherInterpreterPeer)
    return replace(peer, precisions=("single",))


def _cells(peers: Sequence[Peer], batch: int, limits: Limits, operations: Sequence[Operation]) -> Iterator[Cell]:
    from .circuits import problem_of

    problem = problem_of("amplitude", QUBITS)
    points = points_for(problem, batch)
    reference = Reference(EXACT[0], replace(EXACT[0], penalised=False), problem, points)
    return hold(problem, points, peers, reference, limits, History(), operations=operations)


def rows_of(cells: Sequence[Cell]) -> Iterator[Row]:
    """A row for every other way to make the step; PennyLane's have a target at the usual batch."""
    steps = {cell.peer: cell for cell in cells if cell.contest.operation == "step"}
    ours = steps[OURS]
    batch = ours.contest.batch
    for peer, (name, words) in WAYS.items():
        theirs = steps[peer]
        yield Row(
            f"ten-qubits-{name}",
            f"10-qubit step with amplitudes, batch {batch}: times faster than {words}{_took(ours, theirs)}",
            None if theirs.timing is None or ours.timing is None else theirs.timing.median / ours.timing.median,
            "×",
            TIMES_FASTER if name.startswith("pennylane") and batch == BATCH else None,
            "higher",
            note=theirs.reason or "in turns, single precision, gradients equal beforehand",
            details={"ours": ours.record(), "theirs": theirs.record()},
        )


def _took(ours: Cell, theirs: Cell) -> str:
    if ours.timing is None or theirs.timing is None:
        return ""
    return f" ({theirs.timing.median / 1000:.2f} s against {ours.timing.median:.3g} ms)"
