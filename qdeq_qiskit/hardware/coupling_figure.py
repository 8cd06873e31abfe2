"""A processor's coupling map with the qubits that a circuit runs on: the whole of it, and these qubits close up.

Qiskit's `plot_error_map` has no coordinates for most processors and needs a window's worth of colour bars; what is
drawn here is what a user asks: where am I, and are these good qubits.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from qiskit.transpiler import Target

from qdeq_qiskit.hardware.coupling_layout import qubit_positions
from qdeq_qiskit.training.report.style import ACCENT, INK, styled

_QUBITS = LinearSegmentedColormap.from_list("readout", ["#dcebf5", "#7fb2d3", "#2a6f97", "#12344a"])
_EDGES = LinearSegmentedColormap.from_list("gates", ["#f6dcd3", "#e39a82", "#c8553d", "#6f2415"])
_UNKNOWN = "#c3cad3"
_SCALE_ENDS_AT = 0.95  # the quantile of errors that a colour scale ends at: a few qubits are far worse than all others


@dataclass(frozen=True)
class _Errors:
    """Readout errors by qubit, two-qubit errors by pair (the smaller qubit first); None where none is known."""

    qubits: dict[int, float | None]
    edges: dict[tuple[int, int], float | None]


@styled
def coupling_figure(target: Target, physical: Sequence[int], *, name: str, wires: int | None = None) -> Figure:
    """The processor, the chosen qubits ringed; and these alone, with their errors in figures.

    Args:
        target: the processor.
        physical: its qubit of each wire.
        name: the processor's name.
        wires: how many of the wires are the model's; the others are there for routing. None for all.
    """
    errors = _errors(target)
    positions = qubit_positions(target.num_qubits, errors.edges)
    span = np.ptp(positions, axis=0) + 1
    width = 7.0 if target.num_qubits > 20 else 4.6
    height = min(max(width * span[1] / span[0], 1.7), 7.0)
    figure = Figure(figsize=(width + 4.0, height + 1.2), layout="constrained")
    (whole, close), bars = figure.subplots(2, 2, width_ratios=(width, 4.0), height_ratios=(height, 0.09))
    scales = _scale(errors.qubits.values()), _scale(errors.edges.values())
    inches = 0.54 * figure.get_figwidth() / (span[0] + 0.4)  # of an edge, about
    _draw_whole(whole, positions, errors, physical, scales, size=min(72 * 0.55 * inches, 26.0))
    _draw_close(close, positions, errors, physical, scales, len(physical) if wires is None else wires)
    whole.set_title(f"{name}: {target.num_qubits} qubits, {len(physical)} chosen")
    close.set_title("The chosen qubits")
    for axes, colours, scale, label in zip(
        bars, (_QUBITS, _EDGES), scales, ("readout error (qubits)", "two-qubit gate error (edges)"), strict=True
    ):
        bar = figure.colorbar(ScalarMappable(scale, colours), cax=axes, orientation="horizontal", extend="max")
        bar.set_label(label)
        bar.ax.xaxis.set_major_locator(MaxNLocator(nbins=5))
        bar.ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    return figure


def _draw_whole(
    axes: Axes,
    positions: np.ndarray,
    errors: _Errors,
    physical: Sequence[int],
    scales: tuple[Normalize, Normalize],
    *,
    size: float,
) -> None:
    """The whole processor; a qubit's diameter is `size` points."""
    _bare(axes, positions, 0.7)
    inside = {pair for pair in errors.edges if {*pair} <= {*physical}}
    _edges(axes, positions, errors, scales[1], size / 4, emphasised=inside)
    _qubits(axes, positions, errors, scales[0], size**2)
    chosen = positions[[*physical]]
    axes.scatter(
        chosen[:, 0],
        chosen[:, 1],
        s=(1.45 * size) ** 2,
        facecolor="none",
        edgecolor=ACCENT,
        linewidth=max(1.2, size / 8),
    )
    if size >= 9:
        for qubit, place in enumerate(positions):
            _number(axes, place, str(qubit), errors.qubits.get(qubit), scales[0], 0.42 * size)


def _draw_close(
    axes: Axes,
    positions: np.ndarray,
    errors: _Errors,
    physical: Sequence[int],
    scales: tuple[Normalize, Normalize],
    wires: int,
) -> None:
    places = _turned(positions[[*physical]])
    near = dict(zip(physical, places, strict=True))
    _bare(axes, places, 0.95)
    pairs = [pair for pair in errors.edges if {*pair} <= {*physical}]
    crowded = len(physical) > 8
    size = 13.0 if crowded else 22.0
    for pair in pairs:
        ends = np.array([near[pair[0]], near[pair[1]]])
        error = errors.edges[pair]
        axes.plot(ends[:, 0], ends[:, 1], color=_colour(error, scales[1], _EDGES), linewidth=size / 3.5, zorder=1)
        if not crowded:
            _beside(axes, ends, _percent(error))
    for wire, qubit in enumerate(physical):
        error, place = errors.qubits.get(qubit), near[qubit]
        colour = _colour(error, scales[0], _QUBITS)
        axes.scatter(place[0], place[1], s=size**2, color=colour, edgecolor=ACCENT, linewidth=1.6, zorder=3)
        _number(axes, place, str(qubit), error, scales[0], 0.36 * size)
        label = f"q{wire}" if wire < wires else "routing"
        axes.annotate(
            label if crowded else f"{label}\n{_percent(error)}",
            (place[0], place[1]),
            xytext=(0.34 * size, -0.5 * size),
            textcoords="offset points",
            ha="left",
            va="top",
            fontsize=7 if crowded else 8.5,
            linespacing=1.25,
            zorder=5,
        )


def _beside(axes: Axes, ends: np.ndarray, text: str) -> None:
    """A text above an edge, or on its left: below and on the right are the qubits' own labels."""
    x, y = ends[1] - ends[0]
    across = np.array([y, -x]) / max(float(np.hypot(x, y)), 1e-9)
    if across[1] < 0 or (across[1] == 0 and across[0] > 0):
        across = -across
    sideways = abs(across[0]) > abs(across[1])
    place = ends.mean(0) + 0.16 * across - np.array([0.0, 0.13 if sideways else 0.0])
    axes.text(place[0], place[1], text, ha="right" if sideways else "center", va="center", fontsize=8)


def _bare(axes: Axes, places: np.ndarray, margin: float) -> None:
    """Axes without an axis, as large as what is drawn."""
    axes.set_aspect("equal")
    axes.set_anchor("N")
    axes.set_axis_off()
    low, high = places.min(0) - margin, places.max(0) + margin
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])


def _turned(places: np.ndarray) -> np.ndarray:
    """The places with their longer side across, so that labels have room below."""
    return places if np.ptp(places[:, 0]) >= np.ptp(places[:, 1]) else places[:, ::-1] * [-1, 1]


def _edges(
    axes: Axes,
    positions: np.ndarray,
    errors: _Errors,
    scale: Normalize,
    width: float,
    *,
    emphasised: Iterable[tuple[int, int]],
) -> None:
    segments = [positions[[*pair]] for pair in errors.edges]
    colours = [_colour(error, scale, _EDGES) for error in errors.edges.values()]
    wide = {*emphasised}
    widths = [2 * width if pair in wide else width for pair in errors.edges]
    axes.add_collection(LineCollection(segments, colors=colours, linewidths=widths, zorder=1))


def _qubits(axes: Axes, positions: np.ndarray, errors: _Errors, scale: Normalize, area: float) -> None:
    colours = [_colour(errors.qubits.get(qubit), scale, _QUBITS) for qubit in range(len(positions))]
    axes.scatter(positions[:, 0], positions[:, 1], s=area, c=colours, edgecolor="white", linewidth=0.5, zorder=2)


def _number(axes: Axes, place: np.ndarray, text: str, error: float | None, scale: Normalize, size: float) -> None:
    dark = error is not None and scale(error) > 0.5
    axes.text(
        place[0], place[1], text, ha="center", va="center", fontsize=size, color="white" if dark else INK, zorder=4
    )


def _colour(error: float | None, scale: Normalize, colours: LinearSegmentedColormap) -> str | tuple[float, ...]:
    return _UNKNOWN if error is None else colours(float(np.clip(scale(error), 0, 1)))


def _percent(error: float | None) -> str:
    return "unknown" if error is None else f"{100 * error:.2g} %"


def _scale(errors: Iterable[float | None]) -> Normalize:
    known = [error for error in errors if error is not None and error < 1]
    high = float(np.quantile(known, _SCALE_ENDS_AT)) if known else 0.01
    return Normalize(0, max(high, 1e-6))


def _errors(target: Target) -> _Errors:
    """What the target says; of several two-qubit gates on a pair, the best one's."""
    readout = target["measure"] if "measure" in target.operation_names else {}
    qubits: dict[int, float | None] = {
        qubit: _known(getattr((readout or {}).get((qubit,)), "error", None)) for qubit in range(target.num_qubits)
    }
    edges: dict[tuple[int, int], float | None] = {}
    for name in target.operation_names:
        for places, properties in (target[name] or {}).items():
            if places is None or len(places) != 2:
                continue
            pair = (min(places), max(places))
            error, before = _known(getattr(properties, "error", None)), edges.get(pair)
            edges[pair] = error if before is None else before if error is None else min(before, error)
    return _Errors(qubits, edges)


def _known(error: float | None) -> float | None:
    return None if error is None or math.isnan(error) else float(error)
