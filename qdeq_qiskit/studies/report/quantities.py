"""Figures of several quantities: what moves, the solver, and what shots determine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pandas as pd
from matplotlib.figure import Figure

from qdeq_qiskit.studies.report.drawing import MANY_NAMES, Looks, draw, legend, new_grid, shares, title
from qdeq_qiskit.studies.report.sweep import Panel, Sweep
from qdeq_qiskit.training.report.style import styled


@dataclass(frozen=True)
class _Row:
    """One quantity of a figure.

    Attributes:
        never: what the report says instead where it is zero everywhere.
    """

    column: str
    title: str
    label: str
    logarithmic: bool = False
    percent: bool = False
    from_zero: bool = False
    never: str = ""


MOVED = (
    _Row("displacement", "displacement", "‖w* − w* without noise‖, median", logarithmic=True),
    _Row(
        "branch_share",
        "changes of branch",
        "share of matched images",
        percent=True,
        never="No image changes its branch.",
    ),
    _Row("changed_prediction", "other answers", "share of images", percent=True, never="No answer changes."),
)
SOLVED = (
    _Row("residual", "residual", "‖f(w) − w‖ / ‖f(w)‖, median", logarithmic=True),
    _Row("unconverged", "not found", "share of images", percent=True, never="Every equilibrium is found."),
    _Row("iterations", "work", "solver iterations per image", from_zero=True),
    _Row("spectral_radius", "contraction", "spectral radius of ∂f/∂w, median", from_zero=True),
)
DETERMINED = (
    _Row("half_width", "95% interval of w*", "half-width, widest entry, median", logarithmic=True),
    _Row("confidence", "confidence", "probability of the answer, median", percent=True),
    _Row("shots_each", "cost", "shots an image, in all", logarithmic=True),
)


@styled
def displacement(sweep: Sweep, looks: Looks) -> Figure:
    """How far the states move, and how many samples settle on another root, or on none."""
    return _rows(sweep, looks, _drawn(sweep, MOVED))


@styled
def solver(sweep: Sweep, looks: Looks) -> Figure:
    """Residual, work and contraction of the fixed points; of the models that seek one."""
    sought = _only(sweep, "mode", "implicit")
    return _rows(sought, looks, _drawn(sought, SOLVED))


@styled
def certainty(sweep: Sweep, looks: Looks) -> Figure:
    """How well the shots determine the fixed point and the answer."""
    sought = _only(sweep, "mode", "implicit")
    return _rows(sought, looks, _drawn(sought, DETERMINED))


def quantity_figures(sweep: Sweep) -> list[tuple[str, Callable[[Sweep, Looks], Figure]]]:
    """Names and functions of the figures that have something to draw."""
    rows = pd.concat([panel.rows for panel in sweep.panels])
    sought = _only(sweep, "mode", "implicit")
    found: list[tuple[str, Callable[[Sweep, Looks], Figure]]] = []
    if (rows["displacement"] > 0).any() and _drawn(sweep, MOVED):
        found.append(("displacement", displacement))
    if _drawn(sought, SOLVED):
        found.append(("solver", solver))
    if rows["half_width"].notna().any() and _drawn(sought, DETERMINED):
        found.append(("certainty", certainty))
    return found


def never(sweep: Sweep) -> dict[str, str]:
    """By figure: sentences in place of what is zero everywhere in the report."""
    rows = pd.concat([panel.rows for panel in sweep.panels])
    sought = rows[rows["mode"] == "implicit"]
    return {
        name: " ".join(row.never for row in wanted if row.never and _is_zero(values[row.column]))
        for name, wanted, values in (("displacement", MOVED, rows), ("solver", SOLVED, sought))
    }


def _is_zero(values: pd.Series) -> bool:
    known = values.dropna().astype(float)
    return bool(len(known) and (known.abs() < 1e-9).all())


def _drawn(sweep: Sweep, wanted: Sequence[_Row]) -> list[_Row]:
    """The quantities that have something to show: known, and not zero everywhere."""
    known = [row for row in wanted if any(_varies(sweep, panel.rows, row.column) for panel in sweep.panels)]
    values = {row: pd.concat([panel.rows[row.column] for panel in sweep.panels]) for row in known}
    return [row for row in known if not (row.never and _is_zero(values[row]))]


def _rows(sweep: Sweep, looks: Looks, drawn: Sequence[_Row]) -> Figure:
    """Quantities side by side, a row for each panel; or below one another, for two or three panels side by side."""
    panels = [
        panel for panel in sweep.first_panels.panels if any(panel.rows[row.column].notna().any() for row in drawn)
    ]
    if len(sweep.ticks) > MANY_NAMES and sweep.named:
        across, pictures = 1, [(panel, row) for panel in panels for row in drawn]
    elif 1 < len(panels) <= 3:
        across, pictures = len(panels), [(panel, row) for row in drawn for panel in panels]
    else:
        across = len(drawn) if len(panels) > 1 else 2 if len(drawn) in (2, 4) else 3
        pictures = [(panel, row) for panel in panels for row in drawn]
    figure, grid = new_grid(len(pictures), width=10.5 / max(1, across), height=3.1, columns=across)
    for axes, (panel, row) in zip(grid, pictures, strict=True):
        values = panel.rows[row.column].dropna()
        if values.empty:
            axes.set_axis_off()
            continue
        draw(axes, sweep, panel, row.column, looks, interval=False)
        title(axes, row.title + (f"; {panel.title}" if panel.title else ""), size=9.5)
        axes.set_ylabel(row.label)
        most = 1.12 * float(values.max())
        if row.logarithmic and most > 2 * float(values[values > 0].min()):
            axes.set_yscale("log")
        elif row.percent:
            shares(axes, most=max(most, 0.02))
        else:
            axes.set_ylim(0, max(most, 0.1) if row.from_zero else most or None)
    legend(figure, grid)
    return figure


def _varies(sweep: Sweep, rows: pd.DataFrame, column: str) -> bool:
    """Whether a quantity is known at more places than one, as a curve needs; or at the only one that there is."""
    needed = 1 if sweep.named else min(2, rows["x"].nunique())
    return bool(rows[rows[column].notna()]["x"].nunique() >= max(1, needed))


def _only(sweep: Sweep, column: str, value: str) -> Sweep:
    panels = (Panel(panel.title, panel.rows[panel.rows[column] == value]) for panel in sweep.panels)
    kept = tuple(panel for panel in panels if len(panel.rows))
    return replace(sweep, panels=kept)


__all__ = ["certainty", "displacement", "never", "quantity_figures", "solver"]
