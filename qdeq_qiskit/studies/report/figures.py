"""A study's figures; each function takes the table's rows and gives a figure."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import matplotlib.colors as colors
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator, PercentFormatter

from qdeq_qiskit.studies.plan import IDEAL
from qdeq_qiskit.studies.report.sweep import Panel, Sweep, by_budget, spread
from qdeq_qiskit.training.report.style import ACCENT, INK, MAIN, styled

THIRD = "#5a8f3c"
COLOURS = {"implicit": MAIN, "direct": ACCENT, "coherent": THIRD}
MARKERS = {"implicit": "o", "direct": "s", "coherent": "^"}
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
        """A hue and a marker for each mode, a lightness for each model of that mode."""
        models = table.drop_duplicates("model")[["model", "mode"]]
        colour, marker = {}, {}
        for mode, names in models.groupby("mode", sort=False)["model"]:
            for position, name in enumerate(names):
                colour[str(name)] = _shade(COLOURS.get(str(mode), INK), position, len(names))
                marker[str(name)] = MARKERS.get(str(mode), "D")
        return cls(colour, marker)


def _shade(colour: str, position: int, count: int) -> str:
    """From light to dark."""
    if count == 1:
        return colour
    hue, lightness, saturation = colorsys.rgb_to_hls(*colors.to_rgb(colour))
    lightness = 0.70 - 0.42 * position / (count - 1)
    return colors.to_hex(colorsys.hls_to_rgb(hue, lightness, saturation))


@styled
def accuracy(sweep: Sweep, looks: Looks) -> Figure:
    """Accuracy along the axis, with the 95% confidence interval of the mean over training seeds; and the control."""
    figure, grid = _grid(len(sweep.panels), width=7.6 if len(sweep.panels) == 1 else 5.2, height=4.3)
    for axes, panel in zip(grid, sweep.panels, strict=True):
        _draw(axes, sweep, panel, "accuracy", looks, interval=True)
        _control(axes, panel)
        axes.set_title(panel.title or "Accuracy on the test images")
        axes.set_ylabel("accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.set_ylim(top=1.02)
    _legend(figure, grid)
    return figure


@styled
def budget(sweep: Sweep, looks: Looks) -> Figure:
    """Accuracy against the shots that an image takes in all: evaluations, measured Jacobians and estimates."""
    figure, grid = _grid(len(sweep.panels), width=7.6 if len(sweep.panels) == 1 else 5.2, height=3.8)
    for axes, panel in zip(grid, sweep.panels, strict=True):
        _draw(axes, sweep, panel, "accuracy", looks, interval=True)
        _control(axes, panel)
        axes.set_title(panel.title or "At equal cost")
        axes.set_ylabel("accuracy")
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes.set_ylim(top=1.02)
    _legend(figure, grid)
    return figure


@styled
def displacement(sweep: Sweep, looks: Looks) -> Figure:
    """How far the states move, and how many samples settle on another root, or on none."""
    return _rows(
        sweep,
        looks,
        [
            _Row("displacement", "displacement", "‖w* − w* without noise‖, median", logarithmic=True),
            _Row("branch_share", "changes of branch", "share of matched images", percent=True),
            _Row("changed_prediction", "other answers", "share of images", percent=True),
        ],
    )


@styled
def solver(sweep: Sweep, looks: Looks) -> Figure:
    """Residual, work and contraction of the fixed points; of the models that seek one."""
    return _rows(
        _only(sweep, "mode", "implicit"),
        looks,
        [
            _Row("residual", "residual", "‖f(w) − w‖ / ‖f(w)‖, median", logarithmic=True),
            _Row("unconverged", "not found", "share of images", percent=True),
            _Row("iterations", "work", "solver iterations per image", from_zero=True),
            _Row("spectral_radius", "contraction", "spectral radius of ∂f/∂w, median", from_zero=True),
        ],
    )


@styled
def certainty(sweep: Sweep, looks: Looks) -> Figure:
    """How well the shots determine the fixed point and the answer."""
    return _rows(
        _only(sweep, "mode", "implicit"),
        looks,
        [
            _Row("half_width", "95 % interval of w*", "half-width, widest entry, median", logarithmic=True),
            _Row("confidence", "confidence", "probability of the answer, median", percent=True),
            _Row("shots_each", "cost", "shots an image, in all", logarithmic=True),
        ],
    )


@styled
def class_damage(sweep: Sweep, looks: Looks, class_names: Sequence[str]) -> Figure:
    """How much of each class's accuracy is lost, for each model, along the axis; in the first panel."""
    rows = sweep.panels[0].rows
    columns = [f"accuracy_of_{name}" for name in class_names]
    models = list(dict.fromkeys(rows["model"]))
    places = sorted(rows["x"].unique())
    across = min(3, len(models))
    figure, grid = _grid(
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
            cbar_kws={"label": "change of accuracy", "format": PercentFormatter(1, decimals=0)},
            xticklabels=_texts(sweep, places),
            yticklabels=[*class_names],
            annot=np.round(damage[model] * 100) + 0.0 if len(places) <= 12 else False,  # no −0
            fmt=".0f",
            annot_kws={"fontsize": 7},
            linewidths=0.6,
            linecolor="white",
            ax=axes,
        )
        axes.set_title(model)
        axes.set_xlabel("" if sweep.named else sweep.label, fontsize=8.5)
        axes.set_ylabel("true class" if position % across == 0 else "")
        axes.tick_params(length=0, labelsize=8)
        axes.tick_params(axis="x", rotation=45 if sweep.ticks or len(places) > 8 else 0)
        axes.tick_params(axis="y", rotation=0)
    return figure


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
    figure, grid = _grid(len(chosen), width=10.5 / max(2, len(chosen)), height=3.9, share_y=True)
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
        _control(axes, Panel("", here))
        axes.set_title(_at(sweep, texts[place]))
        axes.set_xlabel("evaluations × two-qubit depth")
        _depth_axis(axes, points["mean_depth"])
        axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    grid[0].set_ylabel("accuracy")
    _legend(figure, grid)
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


@dataclass(frozen=True)
class _Row:
    """One quantity of a figure."""

    column: str
    title: str
    label: str
    logarithmic: bool = False
    percent: bool = False
    from_zero: bool = False


def _rows(sweep: Sweep, looks: Looks, wanted: Sequence[_Row]) -> Figure:
    """Quantities that the table has: side by side, or below one another where panels stand side by side."""
    drawn = [row for row in wanted if any(_varies(panel.rows, row.column) for panel in sweep.panels)]
    panels = [panel for panel in sweep.panels if any(panel.rows[row.column].notna().any() for row in drawn)]
    if len(panels) == 1:
        across = 2 if len(drawn) in (2, 4) else 3
        pictures = [(panels[0], row) for row in drawn]
    else:
        across = min(3, len(panels))
        padding = [None] * (-len(panels) % across)
        blocks = [[*panels, *padding][start : start + across] for start in range(0, len(panels), across)]
        pictures = [(panel, row) for block in blocks for row in drawn for panel in block]  # type: ignore[misc]
    figure, grid = _grid(len(pictures), width=10.5 / across, height=3.1, columns=across)
    for axes, (panel, row) in zip(grid, pictures, strict=True):
        if panel is None:
            axes.set_axis_off()
            continue
        _draw(axes, sweep, panel, row.column, looks, interval=False)
        axes.set_title(row.title + (f"; {panel.title}" if panel.title else ""), fontsize=9.5)
        axes.set_ylabel(row.label)
        values = panel.rows[row.column].dropna()
        if row.logarithmic and (values > 0).any():
            axes.set_yscale("log")
        elif row.from_zero or row.percent:
            axes.set_ylim(0, max(1.12 * float(values.max() if len(values) else 1), 0.02 if row.percent else 0.1))
        if row.percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
    _legend(figure, grid)
    return figure


def _varies(rows: pd.DataFrame, column: str) -> bool:
    """Whether a quantity is known at more places than one, or at the only one that there is."""
    return bool(rows[rows[column].notna()]["x"].nunique() >= min(2, rows["x"].nunique()))


def _only(sweep: Sweep, column: str, value: str) -> Sweep:
    panels = (Panel(panel.title, panel.rows[panel.rows[column] == value]) for panel in sweep.panels)
    kept = tuple(panel for panel in panels if len(panel.rows))
    return Sweep(sweep.column, sweep.label, sweep.logarithmic, sweep.ticks, sweep.named, kept, sweep.left_out)


def _draw(axes: Axes, sweep: Sweep, panel: Panel, value: str, looks: Looks, *, interval: bool) -> None:
    """One quantity of every model along the axis: lines with bands, or points with bars where places are names."""
    models = list(dict.fromkeys(panel.rows["model"]))
    points = spread(panel.rows, value, interval=interval)
    shade = 0.16 if len(models) <= 4 else 0.06
    for position, model in enumerate(models):
        line = points[points["model"] == model].sort_values("x")
        if line.empty:
            continue
        colour, marker = looks.colour[model], looks.marker[model]
        if sweep.named:
            shift = (position - (len(models) - 1) / 2) * min(0.22, 0.7 / len(models))
            bars = [line["mean"] - line["low"], line["high"] - line["mean"]]
            axes.errorbar(
                line["x"] + shift, line["mean"], bars, color=colour, marker=marker, markersize=5, linestyle="",
                elinewidth=1.2, label=model,
            )  # fmt: skip
        else:
            axes.fill_between(line["x"], line["low"], line["high"], color=colour, alpha=shade, linewidth=0)
            axes.plot(line["x"], line["mean"], color=colour, marker=marker, markersize=4, label=model)
    _axis(axes, sweep)


def _axis(axes: Axes, sweep: Sweep) -> None:
    axes.set_xlabel("" if sweep.named else sweep.label)
    if sweep.logarithmic:
        axes.set_xscale("log")
    if sweep.ticks:
        axes.set_xticks([place for place, _ in sweep.ticks], [text for _, text in sweep.ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        if sum(len(text) for _, text in sweep.ticks) > (26 if sweep.named else 45):
            axes.tick_params(axis="x", rotation=35)
            for text in axes.get_xticklabels():
                text.set_horizontalalignment("right")
                text.set_rotation_mode("anchor")
    elif not sweep.logarithmic:
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
    if sweep.named:
        axes.grid(axis="x", visible=False)
        axes.set_xlim(-0.6, len(sweep.ticks) - 0.4)


def _control(axes: Axes, panel: Panel) -> None:
    """The classical control: a line for each accuracy that it has on the panel's data sets."""
    for position, share in enumerate(sorted(set(panel.rows["control_accuracy"]))):
        label = CONTROL if position == 0 else None
        axes.axhline(share, color=INK, linewidth=1.2, linestyle=(0, (4, 3)), label=label, zorder=1.5)


def _texts(sweep: Sweep, places: Sequence[float]) -> list[str]:
    named = dict(sweep.ticks)
    return [named.get(place, f"{place:.2g}") for place in places]


def _at(sweep: Sweep, text: str) -> str:
    if sweep.named:
        return text
    if sweep.column == "shots":
        return text if text == "exact" else f"{text} shots"
    if text == "0":
        return "no noise"
    return f"{text} % two-qubit error" if "%" in sweep.label else f"λ = {text}"


def _grid(
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


def _legend(figure: Figure, grid: Sequence[Axes]) -> None:
    """One legend below all axes."""
    entries = {label: handle for axes in grid for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if entries:
        figure.legend([*entries.values()], [*entries], loc="outside lower center", ncols=min(len(entries), 5))


def figures_of(sweep: Sweep, looks: Looks, class_names: Sequence[str]) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """The figures that a study has numbers for, by the names that the template knows."""
    rows = pd.concat([panel.rows for panel in sweep.panels])
    yield "accuracy", lambda: accuracy(sweep, looks)
    if (rows["displacement"] > 0).any():
        yield "displacement", lambda: displacement(sweep, looks)
    if (rows["mode"] == "implicit").any():
        yield "solver", lambda: solver(sweep, looks)
    if rows["half_width"].notna().any() and (rows["mode"] == "implicit").any():
        yield "certainty", lambda: certainty(sweep, looks)
    if rows["x"].nunique() > 1:
        yield "classes", lambda: class_damage(sweep, looks, class_names)
    yield "cost", lambda: cost(sweep, looks)
    spent = by_budget(sweep) if sweep.column == "shots" else None
    if spent is not None:
        yield "budget", lambda: budget(spent, looks)


__all__ = ["Looks", "accuracy", "budget", "certainty", "class_damage", "cost", "displacement", "figures_of", "solver"]
