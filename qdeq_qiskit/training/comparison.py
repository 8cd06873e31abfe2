"""One model on the same samples, on two backends: the figures side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from qdeq_qiskit.training.displacement import Followed, displacement
from qdeq_qiskit.training.evaluation import Evaluation

_SURE = 0.95
_IF_ANY = ("circuits", "shots", "median_half_width", "unsure_fraction")
_TITLES = {
    "median_half_width": "95% half-width of w*, median",
    "unsure_fraction": "class known with less than 95%",
    "circuits": "circuits a machine would run, Jacobians included",
    "spectral_radius_median": "spectral radius, median",
}
_ROWS = {
    "accuracy": "{:.1%}",
    "macro_f1": "{:.3f}",
    "log_loss": "{:.3f}",
    "converged_fraction": "{:.2%}",
    "median_residual": "{:.1e}",
    "spectral_radius_median": "{:.2f}",
    "median_half_width": "{:.1e}",
    "unsure_fraction": "{:.1%} of images",
    "mean_iterations": "{:.1f}",
    "mean_evaluations": "{:.1f}",
    "circuits": "{:,}",
    "shots": "{:,}",
    "seconds": "{:.2f}",
}


@dataclass(frozen=True)
class Comparison:
    """One model on the same samples, on the backend of its training and perhaps on another.

    Attributes:
        outcomes: evaluations by what the backend says of itself; the training's first.
        total: how many test samples there are.
        path: where the figures were written.
        tolerance: relative residual that both solvers sought, the larger one of the two; None where no equilibrium
            was sought, or where it is not known which root to expect, so that roots cannot be told apart.
        followed: the roots of the other backend's map that the training's lead to; None if the two maps are the same.
    """

    outcomes: dict[str, Evaluation]
    total: int
    path: Path
    tolerance: float | None = None
    followed: Followed | None = None

    def figures(self) -> dict[str, Any]:
        """All figures, and how far the other backend's equilibria are from the training's; see `displacement`."""
        first, *others = self.outcomes.values()
        figures: dict[str, Any] = {name: _metrics(outcome) for name, outcome in self.outcomes.items()}
        for other in others:
            moved = displacement(first, other, tolerance=self.tolerance, followed=self.followed)
            figures["compared"] = {
                "same_prediction": float((first.predicted == other.predicted).mean()),
                **moved.figures(),
            }
        return figures

    def table(self) -> Table:
        """The figures as a table."""
        samples = len(next(iter(self.outcomes.values())).labels)
        table = Table(title=f"{samples:,} of {self.total:,} test images", title_justify="left", title_style="bold")
        table.add_column("", style="dim")
        for name in self.outcomes:
            table.add_column(name, justify="right")
        metrics = [_metrics(outcome) for outcome in self.outcomes.values()]
        for name, form in _ROWS.items():
            values = [entry[name] for entry in metrics]
            if name not in _IF_ANY or any(v or (v == 0 and name == "unsure_fraction") for v in values):
                table.add_row(_title(name), *("–" if v is None else form.format(v) for v in values))
            if name == "accuracy":
                intervals = [entry["accuracy_interval"] for entry in metrics]
                table.add_row("95% interval", *(f"{low:.1%} – {high:.1%}" for low, high in intervals))
        compared = self.figures().get("compared")
        if compared:
            blank = [""] * (len(self.outcomes) - 1)
            table.add_row("same prediction", *blank, f"{compared['same_prediction']:.1%}")
            displacement = compared["median_displacement"]
            shown = "–" if displacement is None else f"{displacement:.1e}"
            table.add_row("displacement of w*, median", *blank, shown)
            for name in ("branch_changes", "not_compared"):
                if name in compared:
                    table.add_row(name.replace("_", " "), *blank, f"{compared[name]:,}")
        return table


def _metrics(outcome: Evaluation) -> dict[str, Any]:
    """An evaluation's figures, and the share of samples whose class is not known with 95% confidence."""
    sure = outcome.confidence >= _SURE  # not where there is no estimate
    return {**outcome.metrics(), "unsure_fraction": float((~sure).mean()) if len(sure) else None}


def _title(name: str) -> str:
    return _TITLES.get(name, name.replace("_", " "))
