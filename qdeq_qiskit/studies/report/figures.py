"""A study's figures; each function takes the table's rows and gives a figure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator

from qdeq_qiskit.studies.plan import IDEAL
from qdeq_qiskit.studies.report.drawing import (
    COLOURS,
    MANY_NAMES,
    Looks,
    control,
    draw,
    legend,
    new_grid,
    shares,
    single_seeds,
    title,
)
from qdeq_qiskit.studies.report.quantities import quantity_figures
from qdeq_qiskit.studies.report.sweep import Panel, Sweep, by_budget, spread
from qdeq_qiskit.training.report.style import INK, styled


@styled
def accuracy(sweep: Sweep, looks: Looks) -> Figure:
    """Accuracy along the axis, with its 95% confidence interval; and the control. Every condition is in it."""
    return _accuracies(sweep, looks, "Accuracy on the test images", height=4.3)


@styled
def budget(sweep: Sweep, looks: Looks) -> Figure:
    """Accuracy against the shots that an image takes in all: evaluations, measured Jacobians and estimates."""
    return _accuracies(sweep, looks, "At equal cost", height=3.8)


def _accuracies(sweep: Sweep, looks: Looks, name: str, *, height: float) -> Figure:
    count = len(sweep.panels)
    across = 1 if count == 1 or len(sweep.ticks) > MANY_NAMES else 2
    width = (7.6 if len(sweep.ticks) <= MANY_NAMES else 10.5) if across == 1 else 5.2
    figure, grid = new_grid(count, width=width, height=height, columns=across)
    for axes, panel in zip(grid, sweep.panels, strict=True):
        draw(axes, sweep, panel, "accuracy", looks, interval=True)
        control(axes, panel)
        title(axes, panel.title or name)
        axes.set_ylabel("accuracy")
        axes.set_ylim(top=1.02)
        shares(axes)
    legend(figure, grid)
    return figure


@styled
def class_damage(sweep: Sweep, looks: Looks, class_names: Sequence[str]) -> Figure:
    """How much of each class's accuracy is lost, for each model, along the axis; in the first panel."""
    rows = sweep.panels[0].rows
    columns = [f"accuracy_of_{name}" for name in class_names]
    models = list(dict.fromkeys(rows["model"]))
    places = sorted(rows["x"].unique())
    across = min(3, len(models))
    figure, grid = new_grid(
        len(models), width=max(3.6, 10.5 / across), height=0.36 * len(class_names) + 1.6, columns=across
    )
    damage = {model: _damage(rows[rows["model"] == model], columns, places) for model in models}
    worst = max(0.05, max(float(np.nanmax(np.abs(values))) for values in damage.values()))
    for position, (axes, model) in enumerate(zip(grid, models, strict=True)):
        sns.heatmap(
            damage[model],
            cmap=sns.diverging_palette(20, 235, s=80, l=45, as_cmap=True),
            vmin=-worst,
            vmax=worst,
            cbar=position % across == across - 1,
            cbar_kws={"label": "change (percentage points)", "format": FuncFormatter(_points)},
            xticklabels=_texts(sweep, places),
            yticklabels=[*class_names],
            annot=np.vectorize(_points)(damage[model]) if len(places) <= 12 else False,
            fmt="",
            annot_kws={"fontsize": 7},
            linewidths=0.6,
            linecolor="white",
            ax=axes,
        )
        title(axes, model)
        axes.set_xlabel("" if sweep.named else sweep.label, fontsize=8.5)
        axes.set_ylabel("true class" if position % across == 0 else "")
        axes.tick_params(length=0, labelsize=8)
        axes.tick_params(axis="x", rotation=45 if sweep.ticks or len(places) > 8 else 0)
        axes.tick_params(axis="y", rotation=0)
    return figure


def _points(share: float, _: float = 0) -> str:
    """A change in percentage points, with a minus sign and never −0."""
    return "–" if np.isnan(share) else f"{round(100 * share):d}".replace("-", "−")


def _damage(rows: pd.DataFrame, columns: list[str], places: list[float]) -> np.ndarray:
    """Mean over seeds of the accuracy of each class minus that of the exact and ideal model, (classes, places)."""
    exact = rows[(rows["noise"] == IDEAL) & rows["shots"].isna()].set_index("training_seed")[columns]
    lost = rows[columns].to_numpy(dtype=float) - exact.loc[rows["training_seed"]].to_numpy(dtype=float)
    return np.array([np.nanmean(lost[(rows["x"] == x).to_numpy()], axis=0) for x in places]).T


@styled
def cost(sweep: Sweep, looks: Looks) -> Figure:
    """Accuracy against evaluations × compiled two-qubit depth, at a few places of the axis."""
    rows = sweep.panels[0].rows
    places = sorted(rows["x"].unique())
    chosen = places if len(places) <= 3 else [places[0], places[len(places) // 2], places[-1]]
    figure, grid = new_grid(len(chosen), width=10.5 / max(2, len(chosen)), height=3.9, share_y=True)
    texts = dict(zip(places, _texts(sweep, places), strict=True))
    for axes, place in zip(grid, chosen, strict=True):
        here = rows[rows["x"] == place]
        points = spread(here, "accuracy", interval=True).merge(
            spread(here, "sequential_two_qubit_depth", interval=False)[["model", "mean"]],
            on="model",
            suffixes=("", "_depth"),
        )
        modes = here.drop_duplicates("model").set_index("model")["mode"]
        for mode, group in points.assign(mode=points["model"].map(modes)).groupby("mode", sort=False):
            line = group.sort_values("mean_depth")
            axes.plot(line["mean_depth"], line["mean"], color=COLOURS.get(str(mode), INK), linewidth=0.9, alpha=0.5)
        for point in points.itertuples():
            error = [[point.mean - point.low], [point.high - point.mean]]
            axes.errorbar(
                point.mean_depth,
                point.mean,
                error,
                color=looks.colour[point.model],
                marker=looks.marker[point.model],
                markersize=6,
                linestyle="",
                elinewidth=1.1,
                label=point.model,
            )
            single = pd.DataFrame([point]).assign(x=point.mean_depth)
            single_seeds(axes, single, looks.colour[point.model], looks.marker[point.model])
        control(axes, Panel("", here))
        title(axes, _at(sweep, texts[place]))
        axes.set_xlabel("evaluations × two-qubit depth")
        _depth_axis(axes, points["mean_depth"])
    for axes in grid:
        shares(axes)
    grid[0].set_ylabel("accuracy")
    legend(figure, grid)
    return figure


def _depth_axis(axes: Axes, depths: pd.Series) -> None:
    """Logarithmic with ticks at round numbers where depths differ by much."""
    low, high = float(depths.min()), float(depths.max())
    if high < 3 * low:
        axes.margins(x=0.15)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, min_n_ticks=2))
        return
    axes.set_xscale("log")
    axes.margins(x=0.08)
    ticks = [step * 10**power for power in range(7) for step in (1, 2, 5)]
    axes.set_xticks([tick for tick in ticks if 0.9 * low <= tick <= 1.1 * high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())


def _texts(sweep: Sweep, places: Sequence[float]) -> list[str]:
    named = dict(sweep.ticks)
    return [named.get(place, f"{place:.3g}") for place in places]


def _at(sweep: Sweep, text: str) -> str:
    if sweep.named:
        return text
    if sweep.column == "shots":
        return text if text == "exact" else f"{text} shots"
    return "no noise" if text == "0" else f"λ = {text}"


def figures_of(sweep: Sweep, looks: Looks, class_names: Sequence[str]) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """The figures that a study has numbers for, by the names that the template knows."""
    rows = pd.concat([panel.rows for panel in sweep.panels])
    yield "accuracy", lambda: accuracy(sweep, looks)
    for name, figure in quantity_figures(sweep):
        yield name, partial(figure, sweep, looks)
    if rows["x"].nunique() > 1:
        yield "classes", lambda: class_damage(sweep, looks, class_names)
    yield "cost", lambda: cost(sweep, looks)
    spent = by_budget(sweep) if sweep.column == "shots" else None
    if spent is not None:
        yield "budget", lambda: budget(spent, looks)


__all__ = ["accuracy", "budget", "class_damage", "cost", "figures_of"]
