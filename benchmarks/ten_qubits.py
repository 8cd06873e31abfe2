"""The paper's 10-qubit models: a training step of every kind that its tables train, and the same in other libraries."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from .digit_batches import BATCH, data_name
from .peers.largest import ratio_rows
from .row import Row, timed_row
from .timing import Timing, interleaved
from .training_step import training_step

PAPERS_CODE_MS = 650.0
PAPERS_CODE = "the paper's TorchQuantum code, 650 ms on one core (not run here)"
MOST_AER = 100
"""How many times the torch engine's step one with the Aer engine may take on the CPU."""
OTHER_MODES = {
    "direct1": "direct, 1 layer",
    "direct2": "direct, 2 layers",
    "direct5": "direct, 5 layers",
    "direct10": "direct, 10 layers",
    "coherent2": "coherent, 2 layers",
    "coherent5": "coherent, 5 layers",
}
ANGLES = {"angle": "alternating axes", "angle-paper": "the paper's order of gates"}


def rows(*, quick: bool) -> Iterator[Row]:
    """Steps of the recipes, then ours beside those of other libraries."""
    note = f"batch {BATCH} of {data_name()}; weights learn while the clock runs"
    yield from _amplitude_rows(_amplitude_steps(quick=quick), note)
    yield from _slow_rows(_slow_steps(quick=quick), note)
    yield from ratio_rows(quick=quick)


def _amplitude_steps(*, quick: bool) -> dict[str, Timing]:
    """Implicit, direct and coherent, in turns of 10 steps."""
    cases = {"implicit": training_step("mnist10", engine="torch")}
    cases |= {mode: training_step(f"mnist10-{mode}", engine="torch") for mode in OTHER_MODES}
    repetitions = {name: 400 if name == "implicit" else 100 for name in cases}
    if quick:
        repetitions = dict.fromkeys(cases, 20)
    torch.manual_seed(0)  # of dropout
    return interleaved(cases, repetitions=repetitions, warmup=2 if quick else 5, burst=10)


def _slow_steps(*, quick: bool) -> dict[str, Timing]:
    """The Aer engine and angle encoding, in turns with the torch engine's step, of which the first is a multiple."""
    cases = {
        "implicit": training_step("mnist10", engine="torch"),
        "aer": training_step("mnist10", engine="aer"),
        **{name: training_step(f"mnist10-{name}", engine="torch") for name in ANGLES},
    }
    repetitions = {"implicit": 60, "aer": 8, **dict.fromkeys(ANGLES, 20)}
    if quick:
        repetitions = {"implicit": 6, **dict.fromkeys(("aer", *ANGLES), 2)}
    torch.manual_seed(0)
    return interleaved(cases, repetitions=repetitions, warmup=1, burst=2)


def _amplitude_rows(timings: dict[str, Timing], note: str) -> Iterator[Row]:
    yield timed_row(
        "mnist10-torch",
        "one training step of mnist10 (10 qubits, 100 amplitudes), torch engine",
        timings["implicit"],
        target=15,
        peer=PAPERS_CODE_MS,
        peer_name=PAPERS_CODE,
        note=note,
    )
    for mode, words in OTHER_MODES.items():
        yield timed_row(f"mnist10-{mode}", f"the same, {words}, without penalty", timings[mode], target=None, note=note)


def _slow_rows(timings: dict[str, Timing], note: str) -> Iterator[Row]:
    yield timed_row("mnist10-aer", "the same, implicit, Aer engine on the CPU", timings["aer"], target=None, note=note)
    yield Row(
        "mnist10-aer-ratio",
        "the same, times as long as with the torch engine",
        timings["aer"].median / timings["implicit"].median,
        "×",
        MOST_AER,
        note="medians, in turns",
        details={name: timings[name].summary() for name in ("implicit", "aer")},
    )
    for name, words in ANGLES.items():
        yield timed_row(
            f"mnist10-{name}",
            f"one training step of mnist10-{name} (10 qubits, 100 angles, {words}), torch engine",
            timings[name],
            target=None,
            note=note,
        )
