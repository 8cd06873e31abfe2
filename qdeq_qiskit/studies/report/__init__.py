"""The report of a study: one HTML file that needs nothing beside itself, and its figures as files."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from qdeq_qiskit import recipes
from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.studies.directory import StudyDirectory
from qdeq_qiskit.studies.plan import IDEAL, UNMITIGATED, Plan
from qdeq_qiskit.studies.report.drawing import Looks
from qdeq_qiskit.studies.report.figures import figures_of
from qdeq_qiskit.studies.report.notes import caveats, held_fixed, intervals, scope
from qdeq_qiskit.studies.report.quantities import never
from qdeq_qiskit.studies.report.sweep import CONDITION, Sweep, sweep_of
from qdeq_qiskit.training.report.page import embedded_png, page_templates

TEMPLATE = "report.html.j2"
PIXELS_PER_INCH = 150


def write_report(plan: Plan, directory: StudyDirectory, table: pd.DataFrame, missing: list[tuple[str, str]]) -> Path:
    """Write `report.html` and `figures/` from a study's table.

    Args:
        plan: the study.
        directory: its folder.
        table: its finished cells; at least one.
        missing: (title, reason) of those that are not there.
    """
    table = with_shares(table)
    sweep, origin = sweep_of(table), directory.origin()
    class_names = next(iter(plan.class_names.values()))
    pictures = {}
    for name, draw in figures_of(sweep, Looks.of(table), class_names):
        figure = draw()
        picture = _drawn(figure, "png")
        figure.set_layout_engine("none")  # it stays where it was put; working it out again takes a second
        pictures[name] = embedded_png(picture, figure)
        write_atomically(directory.figures / f"{name}.png", picture)
        write_atomically(directory.figures / f"{name}.svg", _drawn(figure, "svg"))
    page = (
        page_templates(Path(__file__).parent)
        .get_template(TEMPLATE)
        .render(
            name=origin.get("name", directory.path.name),
            study=plan.study,
            recipe_text=recipes.dump(plan.study),
            origin=origin,
            sweep=sweep,
            pictures=pictures,
            summary=_summary(table),
            cells=len(plan.cells),
            trainings=len(plan.models),
            models=list(dict.fromkeys(model.name for model in plan.models)),
            missing=missing,
            fixed=held_fixed(plan, table),
            caveats=caveats(plan, table),
            one_control=float(table["control_accuracy"].iloc[0]) if table["control_accuracy"].nunique() == 1 else None,
            scope=scope(plan, table),
            intervals=intervals(table),
            never=never(sweep),
            panels_left_out=sweep.left_out,
            seconds=float(table["total_seconds"].sum()),
        )
    )
    write_atomically(directory.report, page)
    return directory.report


def with_shares(table: pd.DataFrame) -> pd.DataFrame:
    """The table with what figures show: shares of changed branches, of equilibria not found, of other answers,
    shots an image; and no displacement of what others are compared with.
    """
    compared = table["samples"].astype(float) - table["not_compared"].astype(float)
    spent = table["total_shots"].astype(float)
    compared_with_itself = (table["noise"] == IDEAL) & table["shots"].isna()
    shares = table.assign(
        branch_share=table["branch_changes"].astype(float) / compared.where(compared > 0),
        unconverged=1 - table["converged"],
        changed_prediction=1 - table["same_prediction"],
        shots_each=(spent / table["samples"].astype(float)).where(spent > 0),
    )
    if compared_with_itself.all():
        return shares
    # On a logarithmic axis there is no zero.
    return shares.assign(displacement=shares["displacement"].mask(compared_with_itself))


@dataclass(frozen=True)
class _Line:
    """A model under one condition, over its seeds, as the report's table shows it."""

    model: str
    condition: str
    seeds: int
    accuracy: str
    control: float
    figures: dict[str, str]


_FIGURES = {
    "displacement": ("displace\u00adment", "{:.2g}"),
    "branch_changes": ("branch changes", "{:.1f}"),
    "residual": ("residual", "{:.0e}"),
    "converged": ("con\u00adverged", "{:.1%}"),
    "iterations": ("iter\u00adations", "{:.1f}"),
    "spectral_radius": ("radius", "{:.2f}"),
    "half_width": ("95% half-width", "{:.2g}"),
    "sequential_two_qubit_depth": ("evalua\u00adtions × depth", "{:.0f}"),
    "total_shots": ("shots", "{:,.0f}"),
}
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _number(form: str, value: float) -> str:
    """A number as text is written: powers of ten raised, minus signs that are ones."""
    if pd.isna(value):
        return "–"
    digits, e, exponent = form.format(value).partition("e")
    raised = f"·10{str(int(exponent)).translate(_SUPERSCRIPTS)}" if e and value else ""
    return digits.replace("-", "−") + raised


def _summary(table: pd.DataFrame) -> list[_Line]:
    """Means over training and evaluation seeds, a line for each model and condition."""
    lines = []
    order = table.groupby([*CONDITION], dropna=False, sort=False).ngroup()
    models = table.groupby("model", sort=False).ngroup()
    table = table.assign(order=order, place=models).sort_values(["order", "place"], kind="stable")
    for values, rows in table.groupby([*CONDITION, "model"], dropna=False, sort=False):
        labels = dict(zip([*CONDITION, "model"], values, strict=True))
        by_seed = rows.groupby("training_seed")["accuracy"].mean()
        spread = f" ± {by_seed.std():.1%}" if len(by_seed) > 1 else ""
        means = {name: rows[name].astype(float).mean() for name in _FIGURES}
        lines.append(
            _Line(
                model=str(labels["model"]),
                condition=_condition(labels),
                seeds=len(by_seed),
                accuracy=f"{by_seed.mean():.1%}{spread}",
                control=float(rows["control_accuracy"].iloc[0]),
                figures={title: _number(form, means[name]) for name, (title, form) in _FIGURES.items()},
            )
        )
    used = [title for title, _ in _FIGURES.values() if any(line.figures[title] not in ("–", "0") for line in lines)]
    return [
        _Line(line.model, line.condition, line.seeds, line.accuracy, line.control, {t: line.figures[t] for t in used})
        for line in lines
    ]


def _condition(labels: dict[str, Any]) -> str:
    scale = labels["scale"]
    parts = [labels["noise"] if labels["noise"] == IDEAL or scale == 1 else f"{labels['noise']} × {scale:g}"]
    parts.append("exact" if pd.isna(labels["shots"]) else f"{int(labels['shots']):,} shots")
    parts += [] if labels["mitigation"] == UNMITIGATED else [labels["mitigation"]]
    return ", ".join(parts)


def _drawn(figure: Figure, suffix: str) -> bytes:
    buffer = io.BytesIO()
    # Without the date the same study gives the same file.
    metadata = {"Date": None} if suffix == "svg" else {}
    figure.savefig(buffer, format=suffix, dpi=PIXELS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


__all__ = ["Sweep", "with_shares", "write_report"]
