"""The tables as figures: accuracy against layers and against evaluations, and the residual."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.reproduction.plan import Plan
from qdeq_qiskit.reproduction.rows import CLASSICAL
from qdeq_qiskit.reproduction.table import CONTROL, Line, controls
from qdeq_qiskit.studies.report.drawing import COLOURS, new_grid, shares, title
from qdeq_qiskit.training.report.style import INK, MUTED, style

PIXELS_PER_INCH = 110
LEGEND_COLUMN_INCHES = 2.6
EQUILIBRIUM_X = 16.0
SAME_PLACE, STEP_ASIDE = 1.03, 1.04
MARKERS = ("o", "s", "^", "D", "v")
NAMES = ("accuracy-layers", "accuracy-evaluations", "residual")


@dataclass(frozen=True)
class Point:
    """One row in a figure.

    Attributes:
        x: its place.
        values: of its seeds.
        label: what the legend calls it.
        colour, marker: how it is drawn.
        note: what stands beside it.
    """

    x: float
    values: tuple[float, ...]
    label: str
    colour: str
    marker: str
    note: str = ""


def draw_all(plan: Plan, lines: Sequence[Line], folder: Path) -> None:
    """Write each figure as PNG and SVG; tables without a finished row have no panel."""
    panels = [(table.title, [line for line in lines if line.planned.row.table == table.name]) for table in plan.tables]
    panels = [(name, own) for name, own in panels if any(line.runs for line in own)]
    if not panels:
        return
    folder.mkdir(exist_ok=True)
    drawn: tuple[Callable[[Axes, Sequence[Line]], None], ...] = (_by_layers, _by_evaluations, _residuals)
    with style(), mpl.rc_context({"svg.hashsalt": "qdeq"}):
        for name, draw in zip(NAMES, drawn, strict=True):
            figure, grid = new_grid(len(panels), width=4.8 if len(panels) > 1 else 8, height=3.3, columns=2)
            for axes, (heading, own) in zip(grid, panels, strict=True):
                draw(axes, [line for line in own if line.runs])
                title(axes, heading, size=9.5)
            _legend(figure, grid)
            _write(figure, folder / name)


def _legend(figure: Figure, grid: Sequence[Axes]) -> None:
    """One legend below all axes, in as many columns as the longest label leaves room for."""
    entries = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    columns = max(1, min(len(entries), int(figure.get_figwidth() / LEGEND_COLUMN_INCHES)))
    figure.legend([*entries.values()], [*entries], loc="outside lower center", ncols=columns)


def _write(figure: Figure, path: Path) -> None:
    for suffix in ("png", "svg"):
        buffer = io.BytesIO()
        metadata = {"Date": None} if suffix == "svg" else {}  # the same numbers give the same file
        figure.savefig(buffer, format=suffix, dpi=PIXELS_PER_INCH, metadata=metadata)
        figure.set_layout_engine("none")  # it stays where it was put; working it out again takes a second
        write_atomically(path.with_suffix(f".{suffix}"), buffer.getvalue())


def _by_layers(axes: Axes, lines: Sequence[Line]) -> None:
    """Accuracy against layers; equilibria stand to the right, as they have no number of them."""
    points = list(_points(lines, "accuracy", _layer_place))
    _draw(axes, _set_apart(points), joined=True)
    _control(axes, lines)
    places = sorted({point.x for point in points})
    ticks = {place: f"{place:.0f}" for place in places if place < EQUILIBRIUM_X}
    equilibria = [place for place in places if place >= EQUILIBRIUM_X]
    if equilibria:
        ticks[float(np.sqrt(equilibria[0] * equilibria[-1]))] = "equilibria"
    axes.set_xscale("log")
    axes.set_xticks([*ticks], [*ticks.values()])
    axes.minorticks_off()
    axes.set_xlabel("layers")
    axes.set_ylabel("test accuracy")
    shares(axes)


def _layer_place(line: Line, position: int) -> float:
    layers = line.planned.row.layers
    return float(layers) if layers is not None else EQUILIBRIUM_X * 1.18**position


def _by_evaluations(axes: Axes, lines: Sequence[Line]) -> None:
    """Accuracy against evaluations of the map for one image."""
    _draw(axes, _set_apart(_points(lines, "accuracy", lambda line, _: float(np.mean(line.values("evaluations"))))))
    _control(axes, lines)
    axes.set_xscale("log")
    places = [place for place in (1, 2, 3, 5, 10, 20, 50) if axes.get_xlim()[0] <= place <= axes.get_xlim()[1]]
    axes.set_xticks(places, [str(place) for place in places])
    axes.minorticks_off()
    axes.set_xlabel("evaluations of the map for one image")
    axes.set_ylabel("test accuracy")
    shares(axes)


def _residuals(axes: Axes, lines: Sequence[Line]) -> None:
    """The residual of every row that has one, from the largest of its seeds to the smallest."""
    known = [line for line in lines if line.values("residual")]
    points = list(_points(known, "residual", lambda line, _: float(known.index(line))))
    _draw(axes, points, middle=np.median)
    axes.set_yscale("log")
    several = len({line.planned.row.encoding for line in known}) > 1
    names = [
        _short(line) + (f", {_short_encoding(line)}" if several and line.planned.row.mode != CLASSICAL else "")
        for line in known
    ]
    axes.set_xticks(range(len(known)), names, rotation=50, ha="right", rotation_mode="anchor", fontsize=7.5)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel("relative residual")


def _points(lines: Sequence[Line], value: str, place: Callable[[Line, int], float]) -> Iterator[Point]:
    """A point for each row that has the figure."""
    encodings = list(dict.fromkeys(line.planned.row.encoding for line in lines))
    equilibria = 0
    for line in lines:
        row, values = line.planned.row, line.values(value)
        if values:
            marker = MARKERS[encodings.index(row.encoding) % len(MARKERS)]
            colour = INK if row.mode == CLASSICAL else COLOURS[row.mode]
            kind = f"{row.mode}, warm-up" if row.recipe.model.warmup_steps else row.mode
            label = "classical map" if row.mode == CLASSICAL else f"{kind}, {row.encoding}"
            if row.recipe.model.warmup_steps:
                colour = WARM
            note = f"L = {row.layers}" if row.mode == "coherent" else ""
            yield Point(place(line, equilibria), tuple(values), label, colour, marker, note)
        equilibria += row.layers is None


def _set_apart(points: Iterable[Point]) -> list[Point]:
    """Points of nearly one place on a logarithmic axis, beside each other, so that none hides another."""
    groups: list[list[Point]] = []
    for point in sorted(points, key=lambda point: point.x):
        if groups and point.x <= groups[-1][0].x * SAME_PLACE:
            groups[-1].append(point)
        else:
            groups.append([point])
    return [
        replace(point, x=point.x * STEP_ASIDE ** (position - (len(group) - 1) / 2))
        for group in groups
        for position, point in enumerate(group)
    ]


WARM = "#7fb2d1"


def _draw(
    axes: Axes,
    points: Sequence[Point],
    *,
    joined: bool = False,
    middle: Callable[[np.ndarray], np.floating] = np.mean,
) -> None:
    """Means with bars of one sample standard deviation, or medians with bars from the least to the largest."""
    for label in dict.fromkeys(point.label for point in points):
        own = sorted((point for point in points if point.label == label), key=lambda point: point.x)
        centres = np.array([float(middle(np.array(point.values))) for point in own])
        bars = np.array(
            [_bar(np.array(point.values), centre, middle) for point, centre in zip(own, centres, strict=True)]
        )
        axes.errorbar(
            [point.x for point in own], centres, bars.T, color=own[0].colour, marker=own[0].marker, markersize=5,
            linestyle="-" if joined and len(own) > 1 else "", linewidth=1.2, elinewidth=1.2, capsize=2, label=label,
        )  # fmt: skip
        for point, centre in zip(own, centres, strict=True):
            if point.note and not joined:
                axes.annotate(
                    point.note, (point.x, centre), (3, 4), textcoords="offset points", color=MUTED, fontsize=7
                )


def _bar(values: np.ndarray, centre: float, middle: Callable[[np.ndarray], np.floating]) -> tuple[float, float]:
    if middle is not np.mean:
        return centre - float(values.min()), float(values.max()) - centre
    spread = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return spread, spread


def _control(axes: Axes, lines: Sequence[Line]) -> None:
    for position, (accuracy, _) in enumerate(controls(lines)):
        label = f"{CONTROL}, same pixels" if position == 0 else None
        axes.axhline(accuracy, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label=label, zorder=1.5)


def _short(line: Line) -> str:
    return (
        line.planned.row.title.removesuffix(" layers")
        .removesuffix(" layer")
        .replace("implicit, ", "")
        .removesuffix(", implicit")
    )


def _short_encoding(line: Line) -> str:
    """amplitude, or which kind of angle encoding."""
    return line.planned.row.encoding.partition("(")[2].removesuffix(")") or line.planned.row.encoding
