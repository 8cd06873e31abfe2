"""What a table shows, in sentences that follow from its numbers, whoever wins."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from qdeq_qiskit.reproduction.rows import CLASSICAL
from qdeq_qiskit.reproduction.table import CONTROL, Line, controls


def findings(lines: Sequence[Line]) -> list[str]:
    """Sentences about the finished rows of one table: the controls first, then layers against the equilibrium."""
    done = [line for line in lines if line.runs]
    circuits = [line for line in done if not line.planned.row.is_classical]
    if not circuits:
        return []
    found = _against_controls(circuits, done)
    for encoding in dict.fromkeys(line.planned.row.encoding for line in circuits):
        found += _against_layers([line for line in circuits if line.planned.row.encoding == encoding], encoding)
    unfinished = sum(not line.complete for line in lines)
    if unfinished:
        found.append(f"Not finished: {unfinished} of {len(lines)} rows.")
    return found


def _against_controls(circuits: Sequence[Line], done: Sequence[Line]) -> list[str]:
    best = max(circuits, key=_mean)
    found = [f"The best circuit is {_named(best)} with {_mean(best):.1%}."]
    control = max((accuracy for accuracy, _ in controls(done)), default=None)
    if control is not None:
        ahead = sum(_mean(line) > control for line in circuits)
        verdict = {0: "ahead of every circuit", len(circuits): "behind every circuit"}.get(
            ahead, f"behind {ahead} of {len(circuits)} circuits"
        )
        found.append(f"{CONTROL.capitalize()} on the same pixels has {control:.1%} and is {verdict}.")
    for line in (line for line in done if line.planned.row.mode == CLASSICAL):
        rival = _counterpart(line, circuits)
        if rival is not None:
            found.append(
                f"A classical map with as many weights in the circuit's place has {_mean(line):.1%}, "
                f"{_compared(line, rival)} the circuit's {_mean(rival):.1%}."
            )
    return found


def _counterpart(line: Line, circuits: Sequence[Line]) -> Line | None:
    """The plain equilibrium of a circuit with the same encoding."""
    row = line.planned.row
    plain = (each for each in circuits if each.planned.row.encoding == row.encoding and _is_plain(each))
    return next(plain, None)


def _against_layers(lines: Sequence[Line], encoding: str) -> list[str]:
    """The equilibrium beside the best of the models with layers."""
    plain = next((line for line in lines if _is_plain(line)), None)
    layered = [line for line in lines if line.planned.row.mode == "direct"]
    if plain is None or not layered:
        return []
    best = max(layered, key=_mean)
    return [
        f"With {encoding} encoding the equilibrium has {_mean(plain):.1%}, {_compared(plain, best)} the "
        f"{_mean(best):.1%} of the best direct model ({best.planned.row.title})."
    ]


def _is_plain(line: Line) -> bool:
    row = line.planned.row
    return row.mode == "implicit" and not row.recipe.model.warmup_steps


def _compared(line: Line, other: Line) -> str:
    """ahead of or behind, and whether seeds could have done it."""
    difference = _mean(line) - _mean(other)
    word = "ahead of" if difference > 0 else "behind"
    if abs(difference) < 5e-4:
        return "level with"
    spreads = [float(np.std(each.values("accuracy"), ddof=1)) for each in (line, other) if len(each.runs) > 1]
    if len(spreads) < 2:
        return f"{100 * abs(difference):.1f} points {word} (too few seeds to say whether that is chance)"
    within = abs(difference) <= math.hypot(*spreads)
    return f"{100 * abs(difference):.1f} points {word}{' (within the spread of seeds)' if within else ''}"


def _mean(line: Line) -> float:
    return float(np.mean(line.values("accuracy")))


def _named(line: Line) -> str:
    return f"“{line.planned.row.title}” ({line.planned.row.encoding} encoding)"
