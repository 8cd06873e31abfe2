"""Which axis of a study its figures run along, and what is drawn in which panel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from qdeq_qiskit.studies.plan import IDEAL, UNMITIGATED
from qdeq_qiskit.training.evaluation import wilson_interval

MOST_PANELS = 6
FEW_SCALES = 3
ENOUGH_SEEDS = 3
SEEDS_SHOWN = 3
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
        panels: every condition is in one of them; at least one.
    """

    column: str
    label: str
    logarithmic: bool
    ticks: tuple[tuple[float, str], ...]
    named: bool
    panels: tuple[Panel, ...]

    @property
    def first_panels(self) -> Sweep:
        """What figures with several quantities show."""
        return replace(self, panels=self.panels[:MOST_PANELS])

    @property
    def left_out(self) -> int:
        """How many panels those figures do not show."""
        return max(0, len(self.panels) - MOST_PANELS)


def sweep_of(table: pd.DataFrame) -> Sweep:
    """The axis that a table's figures run along: the first of noise scale, shots, mitigation and kind of noise that
    varies; a panel for each combination of the others.

    Where that would be curves of two points or more panels than fit, kinds of noise and their scales stand side by
    side on the axis instead, in a panel for each combination of shots and mitigation.
    """
    table = table.assign(shots=table["shots"].astype(float))
    noisy = table[table["noise"] != IDEAL]
    scales = noisy.groupby("noise")["scale"].nunique()
    if len(noisy) and scales.max() > 1:
        if len(scales) > 1 and scales.min() < FEW_SCALES:
            return _by_noise(table)
        sweep = _by_scale(table, noisy)
    elif table["shots"].dropna().nunique() > 1:
        sweep = _by_shots(table)
    elif table["mitigation"].nunique() > 1:
        sweep = _by_mitigation(table, noisy)
    else:
        return _by_noise(table)
    kinds = len(noisy.groupby(["noise", "scale"]))
    return _by_noise(table) if sweep.left_out and kinds > 1 else sweep


def _by_scale(table: pd.DataFrame, noisy: pd.DataFrame) -> Sweep:
    parts = []
    for values, rows in _groups(noisy, ("noise", "shots", "mitigation")):
        same = _equal(table["shots"], values["shots"]) & (table["mitigation"] == UNMITIGATED)
        both = pd.concat([table[(table["noise"] == IDEAL) & same], rows])
        parts.append((values, both.assign(x=both["scale"].astype(float))))
    scales = np.unique(noisy["scale"].astype(float))
    positive = scales[scales > 0]
    wide = len(positive) > 0 and positive.max() / positive.min() > 200 and not (scales == 0).any()
    return Sweep("scale", _scale_label(noisy), wide, (), False, _panels(parts))


def _scale_label(noisy: pd.DataFrame) -> str:
    """λ, and what it means for a two-qubit gate if that is the same number times λ for every row."""
    known = noisy[noisy["two_qubit_error"].notna() & (noisy["scale"] > 0)]
    each = known["two_qubit_error"].astype(float) / known["scale"].astype(float)
    if len(known) < len(noisy[noisy["scale"] > 0]) or each.max() <= 0 or each.max() > 1.02 * each.min():
        return "noise scale λ"
    return f"noise scale λ (two-qubit error {each.mean():.2%} × λ)"


def _by_shots(table: pd.DataFrame) -> Sweep:
    parts = _groups(table, ("noise", "scale", "mitigation"))
    shots = table["shots"].dropna()
    exact = 4 * float(shots.max())
    ticks = [(float(count), f"{int(count):,}") for count in sorted(shots.unique())]
    if table["shots"].isna().any():
        ticks.append((exact, "exact"))
    placed = [(values, rows.assign(x=rows["shots"].fillna(exact))) for values, rows in parts]
    placed = [(values, rows) for values, rows in placed if rows["x"].nunique() > 1] or placed
    return Sweep("shots", "shots of each circuit", True, tuple(ticks), False, _panels(placed))


def _by_mitigation(table: pd.DataFrame, noisy: pd.DataFrame) -> Sweep:
    names = list(dict.fromkeys(noisy["mitigation"]))
    names = ["no noise", *(["none"] if "none" in names else []), *(name for name in names if name != "none")]
    place = {name: float(position) for position, name in enumerate(names)}
    parts = [
        (values, pd.concat([_ideal(table, values).assign(x=0.0), rows.assign(x=rows["mitigation"].map(place))]))
        for values, rows in _groups(noisy, ("noise", "scale", "shots"))
    ]
    return Sweep("mitigation", "mitigation", False, tuple((place[n], n) for n in names), True, _panels(parts))


def _by_noise(table: pd.DataFrame) -> Sweep:
    """Kinds of noise in the order of their two-qubit errors, each with its scales one after the other."""
    errors = table.groupby(["noise", "scale"])["two_qubit_error"].mean().rename("error").reset_index()
    errors["kind"] = errors.groupby("noise")["error"].transform("mean")
    errors["ideal"] = errors["noise"] != IDEAL
    errors = errors.sort_values(["ideal", "kind", "noise", "scale"], kind="stable")
    scaled = errors["noise"].map(errors.groupby("noise")["scale"].nunique()) > 1
    names = [
        f"{row.noise.removeprefix('fake_')}{f' × {row.scale:g}' if several or row.scale not in (0, 1) else ''}"
        for row, several in zip(errors.itertuples(), scaled, strict=True)
    ]
    conditions = [(str(row.noise), float(row.scale)) for row in errors.itertuples()]
    place = {condition: float(position) for position, condition in enumerate(conditions)}
    x = [place[str(noise), float(scale)] for noise, scale in zip(table["noise"], table["scale"], strict=True)]
    placed = table.assign(x=x)
    noisy = placed[placed["noise"] != IDEAL]
    groups = _groups(noisy if len(noisy) else placed, ("shots", "mitigation"))
    parts = [(values, pd.concat([_ideal(placed, values), rows]) if len(noisy) else rows) for values, rows in groups]
    ticks = tuple(zip(place.values(), names, strict=True))
    snapshots = any("fake_" in name for name, _ in conditions)
    label = "snapshots, from small to large two-qubit gate error" if snapshots else "kinds of noise"
    return Sweep("noise", label, False, ticks, True, _panels(parts))


def _ideal(table: pd.DataFrame, values: dict[str, Any]) -> pd.DataFrame:
    """The rows of the ideal circuit with a panel's shots; exact ones if it was not studied with so many."""
    rows = table[(table["noise"] == IDEAL)]
    same = rows[_equal(rows["shots"], values["shots"])]
    return same if len(same) else rows[rows["shots"].isna()]


def _groups(table: pd.DataFrame, columns: Sequence[str]) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """The table's rows by their values in some columns, in the order in which these occur."""
    groups = table.groupby([*columns], dropna=False, sort=False)
    return [(dict(zip(columns, values, strict=True)), rows) for values, rows in groups]


def _panels(parts: list[tuple[dict[str, Any], pd.DataFrame]]) -> tuple[Panel, ...]:
    varying = [name for name in parts[0][0] if len({str(values[name]) for values, _ in parts}) > 1]
    return tuple(Panel(", ".join(filter(None, (_words(n, values) for n in varying))), rows) for values, rows in parts)


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
    return Sweep("budget", "shots an image, in all", True, (), False, tuple(panels)) if panels else None


def spread(rows: pd.DataFrame, value: str, *, interval: bool) -> pd.DataFrame:
    """A figure's mean over training seeds at each place of each model, and how far the seeds are apart.

    Repetitions with other evaluation seeds are averaged first: they are no independent models.

    Args:
        rows: of a panel.
        value: the column; a share of the `samples` images if `interval`.
        interval: whether `low` and `high` are the 95% confidence interval of the mean (see `accuracy_interval`), or
            the smallest and the largest seed.

    Returns:
        Columns model, x, mean, low, high, seeds (their number), each (a tuple of their figures); rows without a value
        are left out.
    """
    known = rows[rows[value].notna()]
    by_seed = known.groupby(["model", "x", "training_seed"], sort=False)
    means = by_seed[value].mean().reset_index()
    images = int(known["samples"].min()) if interval and len(known) else 0
    found = []
    for (model, x), group in means.groupby(["model", "x"], sort=False):
        numbers = group[value].to_numpy(dtype=float)
        low, high = accuracy_interval(numbers, images) if interval else (float(numbers.min()), float(numbers.max()))
        found.append((model, x, float(numbers.mean()), low, high, len(numbers), tuple(map(float, numbers))))
    return pd.DataFrame(found, columns=["model", "x", "mean", "low", "high", "seeds", "each"])


def accuracy_interval(numbers: np.ndarray, images: int) -> tuple[float, float]:
    """The 95% confidence interval of a mean accuracy, over seeds and over test images.

    The images are the same for every seed, so more seeds do not make their part smaller: it is Wilson's interval of
    one test set. From `ENOUGH_SEEDS` seeds on, the half-width of Student's interval of the mean over seeds is added to
    it in squares, on either side; two seeds say nothing of their spread (t = 12.7).

    Args:
        numbers: each seed's accuracy.
        images: how many test images they are shares of.
    """
    mean, count = min(1.0, float(numbers.mean())), len(numbers)
    low, high = wilson_interval(mean, images)
    half = 0.0
    if count >= ENOUGH_SEEDS:
        half = float(stats.t.ppf(0.975, count - 1) * numbers.std(ddof=1) / np.sqrt(count))
    return max(0.0, mean - float(np.hypot(mean - low, half))), min(1.0, mean + float(np.hypot(high - mean, half)))
