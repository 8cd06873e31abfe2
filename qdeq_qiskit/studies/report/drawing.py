"""How a study's models, axes and legends are drawn; what its figures have in common."""

from __future__ import annotations

import colorsys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.colors as colors
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator, PercentFormatter

from qdeq_qiskit.studies.report.sweep import SEEDS_SHOWN, Panel, Sweep, spread
from qdeq_qiskit.training.report.style import ACCENT, INK, MAIN

THIRD = "#5a8f3c"
COLOURS = {"implicit": MAIN, "direct": ACCENT, "coherent": THIRD}
MARKERS = {"implicit": "oDPph", "direct": "sXd*H", "coherent": "^v<>8"}
MANY_NAMES = 12
DODGE = 0.012
CONTROL = "logistic regression, no noise"


@dataclass(frozen=True)
class Looks:
    """How each model is drawn, the same in every figure.

    Attributes:
        colour, marker: by the model's name.
    """

    colour: dict[str, str]
    marker: dict[str, str]

    @classmethod
    def of(cls, table: pd.DataFrame) -> Looks:
        """A hue for each mode, a lightness and a marker for each model of that mode."""
        models = table.drop_duplicates("model")[["model", "mode"]]
        colour, marker = {}, {}
        for mode, names in models.groupby("mode", sort=False)["model"]:
            for position, name in enumerate(names):
                colour[str(name)] = _shade(COLOURS.get(str(mode), INK), position, len(names))
                markers = MARKERS.get(str(mode), "D")
                marker[str(name)] = markers[position % len(markers)]
        return cls(colour, marker)


def _shade(colour: str, position: int, count: int) -> str:
    """From light to dark."""
    if count == 1:
        return colour
    hue, lightness, saturation = colorsys.rgb_to_hls(*colors.to_rgb(colour))
    lightness = 0.70 - 0.42 * position / (count - 1)
    return colors.to_hex(colorsys.hls_to_rgb(hue, lightness, saturation))


def draw(axes: Axes, sweep: Sweep, panel: Panel, value: str, looks: Looks, *, interval: bool) -> None:
    """One quantity of every model along the axis: lines with bands, or points with bars where places are names.

    Models stand a little beside one another, so that none covers another of the same value.
    """
    models = list(dict.fromkeys(panel.rows["model"]))
    points = spread(panel.rows, value, interval=interval)
    shade = 0.16 if len(models) <= 4 else 0.06
    step = min(0.22, 0.7 / len(models)) if sweep.named else _dodge(sweep, panel, len(models))
    for position, model in enumerate(models):
        line = points[points["model"] == model].sort_values("x")
        if line.empty:
            continue
        colour, marker = looks.colour[model], looks.marker[model]
        shift = (position - (len(models) - 1) / 2) * step
        x = line["x"] * 10**shift if sweep.logarithmic else line["x"] + shift
        if sweep.named:
            bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
            axes.errorbar(
                x, line["mean"], bars, color=colour, marker=marker, markersize=5, linestyle="", elinewidth=1.2,
                label=model,
            )  # fmt: skip
        else:
            axes.fill_between(x, line["low"], line["high"], color=colour, alpha=shade, linewidth=0)
            axes.plot(
                x, line["mean"], color=colour, marker=marker, markersize=5, markeredgecolor="white",
                markeredgewidth=0.5, label=model,
            )  # fmt: skip
        if interval:
            single_seeds(axes, line.assign(x=x), colour, marker)
    _axis(axes, sweep, panel)


def single_seeds(axes: Axes, points: pd.DataFrame, colour: str, marker: str) -> None:
    """Faint points where seeds are so few that they say more than their interval."""
    few = points[(points["seeds"] > 1) & (points["seeds"] <= SEEDS_SHOWN)]
    for point in few.itertuples():
        x = [point.x] * len(point.each)
        axes.plot(x, point.each, color=colour, marker=marker, markersize=4, linestyle="", alpha=0.35, zorder=1.8)


def _dodge(sweep: Sweep, panel: Panel, count: int) -> float:
    """How far models are apart on an axis of numbers: decades if it is logarithmic; nothing where each has its own."""
    if sweep.column == "budget":
        return 0.0
    low, high = float(panel.rows["x"].min()), float(panel.rows["x"].max())
    span = np.log10(high / low) if sweep.logarithmic else high - low
    return float(span) * min(DODGE, 0.025 / count)


def _axis(axes: Axes, sweep: Sweep, panel: Panel) -> None:
    axes.set_xlabel("" if sweep.named else sweep.label)
    if sweep.logarithmic:
        axes.set_xscale("log")
    if sweep.ticks:
        axes.set_xticks([place for place, _ in sweep.ticks], [text for _, text in sweep.ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        if sum(len(text) for _, text in sweep.ticks) > (22 if sweep.named else 45):
            axes.tick_params(axis="x", rotation=35)
            for text in axes.get_xticklabels():
                text.set_horizontalalignment("right")
                text.set_rotation_mode("anchor")
    elif panel.rows["x"].nunique() == 1:
        (place,) = panel.rows["x"].unique()
        axes.set_xticks([place], [f"{place:,.3g}"])
        axes.xaxis.set_minor_locator(NullLocator())
    elif not sweep.logarithmic:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, steps=[1, 2, 2.5, 5, 10]))
    if sweep.named:
        axes.grid(axis="x", visible=False)
        axes.set_xlim(-0.6, len(sweep.ticks) - 0.4)


def control(axes: Axes, panel: Panel) -> None:
    """The classical control: a line for each accuracy that it has on the panel's data sets."""
    for position, share in enumerate(sorted(set(panel.rows["control_accuracy"]))):
        label = CONTROL if position == 0 else None
        axes.axhline(share, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label=label, zorder=1.5)


def shares(axes: Axes, *, most: float | None = None) -> None:
    """A vertical axis of shares, with as many digits as its ticks need and no more than the room for 100%."""
    if most is not None:
        axes.set_ylim(0, most)
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0 if high - low >= 0.06 else 1))


def title(axes: Axes, text: str, *, size: float = 10) -> None:
    """A title in as many lines as the axes' width takes."""
    figure = axes.figure
    spec = axes.get_subplotspec()
    assert isinstance(figure, Figure)
    assert spec is not None
    width = figure.get_figwidth() / spec.get_gridspec().ncols
    letters = int((width - 0.7) * 72 / (0.68 * size))  # bold letters are about two thirds as wide as high
    axes.set_title(textwrap.fill(text, max(12, letters)), fontsize=size)


def new_grid(
    count: int, *, width: float, height: float, columns: int | None = None, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` axes, at most `columns` beside one another."""
    across = min(count, columns or (2 if count > 3 else count)) or 1
    down = -(-count // across)
    figure = Figure(figsize=(width * across, height * down + 0.45), layout="constrained")
    grid = list(figure.subplots(down, across, squeeze=False, sharey=share_y).flat)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def legend(figure: Figure, grid: Sequence[Axes]) -> None:
    """One legend below all axes."""
    entries = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if entries:
        figure.legend(
            [*entries.values()],
            [*entries],
            loc="outside lower center",
            ncols=max(1, min(len(entries), int(figure.get_figwidth() / 2))),
        )


__all__ = ["Looks", "control", "draw", "legend", "new_grid", "shares", "single_seeds", "title"]
