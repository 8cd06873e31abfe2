"""The tables as Markdown: what was measured, what others report, and what each column means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qdeq_qiskit.reproduction.directory import ReproductionDirectory
from qdeq_qiskit.reproduction.findings import findings
from qdeq_qiskit.reproduction.plan import Plan
from qdeq_qiskit.reproduction.recipe import PaperTable, Publication
from qdeq_qiskit.reproduction.table import CONTROL, FINISHED, Line, controls, summary

NOTHING = "–"
MEANS_NOTHING = (
    "**The numbers below mean nothing for the paper**: `--quick` trained every row for a few epochs on the bundled "
    "digits, to show that all of it works."
)
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def table_page(plan: Plan, lines: Sequence[Line], directory: ReproductionDirectory) -> str:
    """`table.md`: every table, then what the columns mean."""
    parts = [MEANS_NOTHING, ""] if plan.quick else []
    parts += [f"# {plan.recipe.description or plan.name}", ""]
    parts += tables(plan, lines, directory)
    parts += ["## What the columns mean", "", *notes(plan)]
    return "\n".join(parts) + "\n"


def tables(plan: Plan, lines: Sequence[Line], directory: ReproductionDirectory) -> list[str]:
    """Every table as lines of Markdown, each under its title and with what it shows in words."""
    parts = []
    for table in plan.tables:
        own = [line for line in lines if line.planned.row.table == table.name]
        parts += [f"## {table.title}", "", *_table(table, plan, own, directory), ""]
        words = [] if plan.quick else findings(own)
        parts += [" ".join(words), ""] if words else []
        failed = [f"- {title}, failed: {reason}" for line in own for title, reason in line.failures]
        parts += [*failed, ""] if failed else []
    return parts


def _table(table: PaperTable, plan: Plan, lines: Sequence[Line], directory: ReproductionDirectory) -> list[str]:
    shown = _publications(table, plan)
    heads = [*_COLUMNS, *(f"{each.name} [{number}]" for number, each in shown)]
    rows = ["| " + " | ".join(heads) + " |", "|---" + "|---:" * (len(heads) - 1) + "|"]
    several = len({line.planned.row.encoding for line in lines}) > 1
    for line in lines:
        figures = summary(line, plan, directory)
        row = line.planned.row
        name = f"{row.encoding}, {row.title}" if several and not row.is_classical else row.title
        cells = [name, *(write(figures) for write in list(_COLUMNS.values())[1:])]
        rows.append("| " + " | ".join([*cells, *(_published(each, line) for _, each in shown)]) + " |")
    for accuracy, weights in controls(lines):
        filled = {"test accuracy": f"{accuracy:.1%}", "weights": f"{weights}"}
        cells = [f"{CONTROL}, same pixels", *(filled.get(head, NOTHING) for head in heads[1:])]
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _publications(table: PaperTable, plan: Plan) -> list[tuple[int, Publication]]:
    """Those that have a figure for a row of this table, with their numbers; none beside numbers that mean nothing."""
    return (
        []
        if plan.quick
        else [(n, each) for n, each in _numbered(plan) if any(row in each.rows for row in table.row_names)]
    )


def _numbered(plan: Plan) -> list[tuple[int, Publication]]:
    """The publications that have figures, numbered from 1."""
    return list(enumerate((each for each in plan.recipe.published if each.rows), start=1))


def _published(publication: Publication, line: Line) -> str:
    figure = publication.rows.get(line.planned.row.name)
    if figure is None:
        return NOTHING
    seconds = "" if figure.seconds is None else f", {figure.seconds:,.0f} s"
    return f"{figure.accuracy:.1%}{seconds}"


def _accuracy(figures: dict[str, Any]) -> str:
    if figures["accuracy"] is None:
        return str(figures["status"])
    spread = "" if figures["accuracy_std"] is None else f" ± {figures['accuracy_std']:.1%}"
    return f"{figures['accuracy']:.1%}{spread}"


def _seeds(figures: dict[str, Any]) -> str:
    if figures["status"] == FINISHED:
        return str(figures["seeds"])
    return f"{figures['seeds']} of {figures['seeds_planned']}"


def _weights(figures: dict[str, Any]) -> str:
    return NOTHING if figures["map_weights"] is None else f"{figures['map_weights']} + {figures['head_weights']}"


def _number(name: str, form: str) -> Callable[[dict[str, Any]], str]:
    def write(figures: dict[str, Any]) -> str:
        value = figures[name]
        if value is None:
            return NOTHING
        digits, e, exponent = form.format(value).partition("e")
        return digits + (f"·10{str(int(exponent)).translate(_SUPERSCRIPTS)}" if e and value else "")

    return write


_COLUMNS: dict[str, Callable[[dict[str, Any]], str]] = {
    "model": lambda figures: str(figures["row"]),
    "test accuracy": _accuracy,
    "seeds": _seeds,
    "residual": _number("residual", "{:.0e}"),
    "evaluations": _number("evaluations", "{:.1f}"),
    "CPU time": _number("cpu_seconds", "{:,.0f} s"),
    "memory": _number("added_memory_mb", "{:,.0f} MB"),
    "two-qubit depth": _number("two_qubit_depth", "{}"),
    "weights": _weights,
}


def notes(plan: Plan) -> list[str]:
    """What each column means, and which figures were not measured here."""
    found = [
        "- **test accuracy**: of the epoch with the least validation loss, on the whole test set; the mean over seeds "
        "± the sample standard deviation over seeds, which one seed does not have. Which row is called the best "
        "follows from this number, too, which flatters that row a little.",
        "- **residual**: ‖f(w) − w‖ / ‖f(w)‖ at the test images' states, the median over images, then over seeds. For "
        "a direct model it is that of its last layer, which seeks no fixed point; a coherent model of several layers "
        "has none.",
        "- **evaluations**: of the map, for one test image, in the mean; each is one circuit with its measurements. A "
        "coherent model evaluates one circuit with a repeated ansatz: what its layers cost is its two-qubit depth.",
        "- **CPU time**: of all training and validation epochs, in seconds of one core, in the mean over seeds; other "
        "programs' load is not in it. Runs of an earlier version have none.",
        "- **memory**: the most resident memory during the run over what the process held before it, the largest of "
        "the seeds; data and model are in it, libraries are not. Where it is the same for all rows of a table it is "
        "that of reading and splitting the images, and training took less. Linux alone tells it.",
        f"- **two-qubit depth**: layers of two-qubit gates of one circuit, encoder included, compiled for "
        f"`{plan.recipe.depth_target}` at optimisation level 3 with transpiler seed 0.",
        "- **weights**: of the map (for a circuit, its angles) + of the linear head. All layers of a model have the "
        "same weights, so that more layers are no more weights.",
        f"- **{CONTROL}** sees the same pooled pixels, is deterministic, and so has no seeds.",
    ]
    if plan.quick:
        return found
    found.append("- Everything is measured here, but for columns with a number in brackets.")
    found += [f"- [{number}] **{each.name}**: {each.source}" for number, each in _numbered(plan)]
    return found + [f"- **{each.name}**: {each.source}" for each in plan.recipe.published if not each.rows]
