"""Which axis of a study its figures run along, and what is drawn in which panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from qdeq_qiskit.studies.plan import IDEAL, UNMITIGATED

MOST_PANELS = 6
CONDITION = ("noise", "scale", "shots", "mitigation")


@dataclass(frozen=True)
class Panel:
    """One picture's rows: those of the table, with their place `x` on the axis.

    Attributes:
        title: what the rows have in common and other panels' have not; empty if there is one panel.
        rows: the rows.
    """

    title: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class Sweep:
    """The axis that varies, as figures show it.

    Attributes:
        column: the table's column: scale, shots, mitigation or noise.
        label: of the axis.
        logarithmic: whether the axis is.
        ticks: (place, text) of what is no number: names, or the exact limit of many shots; all of them if `named`.
        named: whether places are names, with nothing between them.
        panels: what is drawn; at least one.
        left_out: how many panels are not.
    """

    column: str
    label: str
    logarithmic: bool
    ticks: tuple[tuple[float, str], ...]
    named: bool
    panels: tuple[Panel, ...]
    left_out: int


def sweep_of(table: pd.DataFrame) -> Sweep:
    """The axis that a table's figures run along: the first of noise scale, shots, mitigation and kind of noise that
    varies; a panel for each combination of the others.
    """
    table = table.assign(shots=table["shots"].astype(float))
    noisy = table[table["noise"] != IDEAL]
    if len(noisy) and noisy.groupby("noise")["scale"].nunique().max() > 1:
        return _by_scale(table, noisy)
    if table["shots"].dropna().nunique() > 1:
        return _by_shots(table)
    if table["mitigation"].nunique() > 1:
        return _by_mitigation(table, noisy)
    return _by_noise(table)


def _by_scale(table: pd.DataFrame, noisy: pd.DataFrame) -> Sweep:
    error = noisy["two_qubit_error"]
    measured = bool(error.notna().all() and (error[noisy["scale"] > 0] > 0).all())
    column = "two_qubit_error" if measured else "scale"
    parts = []
    for values, rows in _groups(noisy, ("noise", "shots", "mitigation")):
        same = _equal(table["shots"], values["shots"]) & (table["mitigation"] == UNMITIGATED)
        ideal = table[(table["noise"] == IDEAL) & same]
        both = pd.concat([ideal, rows])
        # One place for each scale: compiled circuits differ a little in which gates they use.
        place = both.groupby("scale")[column].transform("mean") * (100 if measured else 1)
        parts.append((values, both.assign(x=place)))
    places = np.concatenate([part["x"].to_numpy() for _, part in parts])
    positive = places[places > 0]
    label = "two-qubit gate error (%)" if measured else "noise scale λ"
    wide = len(positive) > 0 and positive.max() / positive.min() > 200 and not (places == 0).any()
    return Sweep("scale", label, wide, (), False, *_panels(parts))


def _by_shots(table: pd.DataFrame) -> Sweep:
    parts = _groups(table, ("noise", "scale", "mitigation"))
    shots = table["shots"].dropna()
    exact = 4 * float(shots.max())
    ticks = [(float(count), f"{int(count):,}") for count in sorted(shots.unique())]
    if table["shots"].isna().any():
        ticks.append((exact, "exact"))
    placed = [(values, rows.assign(x=rows["shots"].fillna(exact))) for values, rows in parts]
    placed = [(values, rows) for values, rows in placed if rows["x"].nunique() > 1] or placed
    return Sweep("shots", "shots of each circuit", True, tuple(ticks), False, *_panels(placed))


def _by_mitigation(table: pd.DataFrame, noisy: pd.DataFrame) -> Sweep:
    names = list(dict.fromkeys(noisy["mitigation"]))
    names = ["no noise", *(["none"] if "none" in names else []), *(name for name in names if name != "none")]
    place = {name: float(position) for position, name in enumerate(names)}
    ideal = table[(table["noise"] == IDEAL) & table["shots"].isna()]
    parts = [
        (values, pd.concat([ideal.assign(x=0.0), rows.assign(x=rows["mitigation"].map(place))]))
        for values, rows in _groups(noisy, ("noise", "scale", "shots"))
    ]
    return Sweep("mitigation", "mitigation", False, tuple((place[n], n) for n in names), True, *_panels(parts))


def _by_noise(table: pd.DataFrame) -> Sweep:
    order = table.groupby("noise")["two_qubit_error"].mean().sort_values(kind="stable").index
    names = [*([IDEAL] if IDEAL in set(order) else []), *(name for name in order if name != IDEAL)]
    place = {name: float(position) for position, name in enumerate(names)}
    placed = table.assign(x=table["noise"].map(place))
    noisy = placed[placed["noise"] != IDEAL]
    ideal = placed[(placed["noise"] == IDEAL) & placed["shots"].isna()]
    groups = _groups(noisy if len(noisy) else placed, ("shots", "mitigation"))
    parts = [(values, pd.concat([ideal, rows]) if len(noisy) else rows) for values, rows in groups]
    ticks = tuple((place[name], name.removeprefix("fake_")) for name in names)
    label = "snapshots, from small to large two-qubit gate error" if any("fake_" in name for name in names) else "noise"
    return Sweep("noise", label, False, ticks, True, *_panels(parts))


def _groups(table: pd.DataFrame, columns: Sequence[str]) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The table's rows by their values in some columns, in the order in which these occur."""
    groups = table.groupby([*columns], dropna=False, sort=False)
    return [(dict(zip(columns, values, strict=True)), rows) for values, rows in groups]


def _panels(parts: list[tuple[dict[str, Any], pd.DataFrame]]) -> tuple[tuple[Panel, ...], int]:
    varying = [name for name in parts[0][0] if len({str(values[name]) for values, _ in parts}) > 1]
    panels = [Panel(", ".join(filter(None, (_words(n, values) for n in varying))), rows) for values, rows in parts]
    return tuple(panels[:MOST_PANELS]), max(0, len(panels) - MOST_PANELS)


def _words(name: str, values: dict[str, Any]) -> str:
    value = values[name]
    if name == "shots":
        return "exact" if pd.isna(value) else f"{int(value):,} shots"
    if name == "scale":
        return "" if value in (0, 1) else f"λ = {value:g}"
    if name == "mitigation":
        return "unmitigated" if value == UNMITIGATED else str(value)
    return str(value)


def _equal(column: pd.Series, value: Any) -> pd.Series:
    return column.isna() if pd.isna(value) else column == value


def by_budget(sweep: Sweep) -> Sweep | None:
    """The same along the shots that one image took in all, whatever they were spent on; None without shots."""
    panels = []
    for panel in sweep.panels:
        rows = panel.rows[panel.rows["total_shots"].fillna(0) > 0]
        if len(rows):
            each = rows["total_shots"].astype(float) / rows["samples"].astype(float)
            place = each.groupby([rows["model"], rows["x"]]).transform("mean")
            panels.append(Panel(panel.title, rows.assign(x=place)))
    return Sweep("budget", "shots an image, in all", True, (), False, tuple(panels), 0) if panels else None


def spread(rows: pd.DataFrame, value: str, *, interval: bool) -> pd.DataFrame:
    """A figure's mean over training seeds at each place of each model, and how far the seeds are apart.

    Repetitions with other evaluation seeds are averaged first: they are no independent models.

    Args:
        rows: of a panel.
        value: the column.
        interval: whether `low` and `high` are the 95% confidence interval of the mean (Student's t; the Wilson
            interval of the one test set where there is one seed only), or the smallest and the largest seed.

    Returns:
        Columns model, x, mean, low, high, seeds; rows without a value are left out.
    """
    known = rows[rows[value].notna()]
    by_seed = known.groupby(["model", "x", "training_seed"], sort=False)[value].mean().reset_index()
    found = []
    for (model, x), group in by_seed.groupby(["model", "x"], sort=False):
        numbers = group[value].to_numpy(dtype=float)
        low, high = float(numbers.min()), float(numbers.max())
        mean, count = float(numbers.mean()), len(numbers)
        if interval and count > 1:
            half = float(stats.t.ppf(0.975, count - 1) * numbers.std(ddof=1) / np.sqrt(count))
            low, high = max(0.0, mean - half), min(1.0, mean + half)
        elif interval and f"{value}_low" in known:
            here = known[(known["model"] == model) & (known["x"] == x)]
            low, high = float(here[f"{value}_low"].mean()), float(here[f"{value}_high"].mean())
        found.append((model, x, mean, low, high, count))
    return pd.DataFrame(found, columns=["model", "x", "mean", "low", "high", "seeds"])
