"""The comparison as pictures: time against batch and against qubits; hollow marks are estimates."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .report_rows import OURS
from .tables import ALSO

Record = dict[str, Any]
_LINES = {
    (OURS, "single"): ("this library", "#000000", "-"),
    ("qdeq_qiskit, Aer engine", "single"): ("this, Aer engine", "#7a7a7a", "--"),
    ("PennyLane default.qubit, backprop", "single"): ("PennyLane default", "#0072b2", "-"),
    ("PennyLane lightning.qubit, adjoint", "double"): ("PennyLane lightning", "#56a3d9", "--"),
    ("TorchQuantum", "single"): ("TorchQuantum", "#c2571a", "-"),
    ("stock Qiskit, ParamShift on Aer", "single"): ("stock Qiskit", "#9b2d86", "-."),
}
"""Peer and precision: label, colour, line. Of two ways to make a step the faster one is drawn."""
_COLUMNS = {"forward": "expectation values", "jacobian": "Jacobian", "step": "training step"}
_LEAST_GAP = 0.062
"""Between two labels, as a fraction of the axes' height."""


def draw(records: Sequence[Record], folder: Path) -> list[Path]:
    """peers.png, against the batch at 4 qubits, and peers-qubits.png, against the qubits at the usual batch."""
    batches = [record["batch"] for record in records if record["qubits"] != 4]
    usual = max(set(batches), key=batches.count) if batches else 256
    folder.mkdir(parents=True, exist_ok=True)
    at_four = [record for record in records if record["qubits"] == 4]
    at_batch = [record for record in records if record["batch"] == usual]
    return [
        _figure(at_four, "batch", "samples in a batch (4 qubits)", folder / "peers.png"),
        _figure(at_batch, "qubits", f"qubits (batch {usual})", folder / "peers-qubits.png"),
    ]


def _figure(records: Sequence[Record], axis: str, words: str, path: Path) -> Path:
    import matplotlib.pyplot as plt
    import seaborn as sns

    ticks = sorted({record[axis] for record in records})
    encodings = list(dict.fromkeys(record["encoding"] for record in records))
    with sns.axes_style("ticks"), sns.plotting_context("paper"):
        figure, axes = plt.subplots(
            len(encodings), 3, figsize=(11, 3.3 * len(encodings)), sharex=True, squeeze=False, layout="constrained"
        )
        for row, encoding in zip(axes, encodings, strict=True):
            for panel, (operation, title) in zip(row, _COLUMNS.items(), strict=True):
                chosen = [r for r in records if r["encoding"] == encoding and r["operation"] == operation]
                _panel(panel, chosen, axis, ticks)
                panel.set_title(f"{title}, {encoding} encoding", loc="left", fontsize=9.5)
            row[0].set_ylabel("time of a call in ms")
        for panel in axes[-1]:
            panel.set_xlabel(words)
        sns.despine(figure)
        figure.savefig(path, dpi=160)
        plt.close(figure)
    return path


def _panel(panel: Any, records: Sequence[Record], axis: str, ticks: Sequence[int]) -> None:
    ends: list[tuple[float, float, str, str]] = []
    for (peer, precision), (label, colour, style) in _LINES.items():
        ways = (peer, ALSO.get(peer, peer))
        chosen = [r for r in records if r["peer"] in ways and r["precision"] == precision]
        measured = _least((r[axis], r["ms"]) for r in chosen if r["ms"] is not None)
        estimated = [
            point
            for point in _least((r[axis], r["estimate_ms"]) for r in chosen if r["estimate_ms"] is not None)
            if point[0] not in dict(measured)
        ]
        if measured:
            width = 2.2 if peer == OURS else 1.3
            panel.plot(
                *zip(*measured, strict=True), color=colour, linestyle=style, marker="o", markersize=3.5, lw=width
            )
        if estimated:
            panel.plot(*zip(*sorted(measured + estimated), strict=True), color=colour, linestyle=":", lw=1, zorder=1)
            hollow = {"marker": "o", "markersize": 4, "markerfacecolor": "white", "linestyle": ""}
            panel.plot(*zip(*estimated, strict=True), color=colour, **hollow)
        if measured or estimated:
            ends.append((*max(measured + estimated), label, colour))
    panel.set_yscale("log")
    if axis == "batch":
        panel.set_xscale("log", base=2)
        panel.set_xlim(ticks[0] / 1.5, ticks[-1] * (ticks[-1] / ticks[0]) ** 0.6)  # room for the labels
    else:
        panel.set_xlim(ticks[0] - 0.3, ticks[-1] + 0.6 * (ticks[-1] - ticks[0]))
    panel.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    panel.minorticks_off()
    panel.grid(axis="y", linewidth=0.4, alpha=0.6)
    _label(panel, ends)


def _least(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lowest point at each x, in order."""
    lowest: dict[float, float] = {}
    for x, y in points:
        lowest[x] = min(y, lowest.get(x, y))
    return sorted(lowest.items())


def _label(panel: Any, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Names at the ends of the lines, moved apart where they would lie on each other."""
    bottom, top = (math.log(limit) for limit in panel.get_ylim())
    ordered = sorted(ends, key=lambda end: end[1])
    heights = [(math.log(end[1]) - bottom) / (top - bottom) for end in ordered]
    for index in range(1, len(heights)):
        heights[index] = max(heights[index], heights[index - 1] + _LEAST_GAP)
    if heights:
        heights[-1] = min(heights[-1], 0.98)
    for index in reversed(range(len(heights) - 1)):
        heights[index] = min(heights[index], heights[index + 1] - _LEAST_GAP)
    for (x, _, label, colour), height in zip(ordered, heights, strict=True):
        panel.annotate(
            label,
            (x, math.exp(bottom + height * (top - bottom))),
            textcoords="offset points",
            xytext=(6, -2.5),
            color=colour,
            fontsize=7.5,
            fontweight="bold" if label == "this library" else "normal",
        )
