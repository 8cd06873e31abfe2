"""What the terminal shows of plans, results and jobs."""

from __future__ import annotations

import time
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from qdeq_qiskit.backends.runtime.ledger import Ledger
from qdeq_qiskit.backends.runtime.solve import Solve
from qdeq_qiskit.hardware.cost import Prediction
from qdeq_qiskit.hardware.methods import METHODS
from qdeq_qiskit.hardware.results import used
from qdeq_qiskit.hardware.submission import Plan
from qdeq_qiskit.hardware.wording import reason_title, seconds_line


def plan_table(plan: Plan) -> Table:
    """The compiled circuit, and what the work will take."""
    table = _figures("Plan")
    for name, value in plan.work.compile_figures.lines():
        table.add_row(name, value)
    settings, prediction = plan.work.settings, plan.prediction
    table.add_section()
    table.add_row("backend", plan.work.backend.describe())
    table.add_row("images", _images(plan))
    table.add_row("method", METHODS[settings.method].describe(plan.work))
    for name, value in _prediction_lines(prediction):
        table.add_row(name, value)
    table.add_row("budget", _budget(settings.max_qpu_seconds, prediction.qpu_seconds))
    return table


def result_table(result: dict[str, Any]) -> Table:
    """What came out of a solve."""
    table = _figures(f"Solve {result['solve']}, by {result['method']}")
    low, high = result["accuracy_interval"]
    where = " (a calibrated copy on this machine)" if result["simulated"] else ""
    table.add_row("processor", f"{result['processor']}{where}")
    table.add_row("accuracy", f"[bold]{result['accuracy']:.1%}[/] of {result['samples']:,} images")
    table.add_row("95% interval", f"{low:.1%} – {high:.1%}, which accounts for {result['accuracy_interval_of']}")
    metrics, noiseless = result["metrics"], result["noiseless"]
    if metrics["median_half_width"] is not None:
        table.add_row("95% half-width of w*, median", f"{metrics['median_half_width']:.1e}")
    if noiseless is not None:
        table.add_row("without noise, same images", f"{noiseless['accuracy']:.1%}")
        table.add_row("same class as without noise", f"{noiseless['same_prediction']:.1%}")
    for name, count in result["reasons"].items():
        table.add_row(reason_title(name), f"{count:,} images")
    if missing := result["without_estimate"]:
        table.add_row("without an estimate of w*", f"{missing:,} images, whose class is that of the best state seen")
    table.add_section()
    spent, predicted = result["used"], result["predicted"]
    for name in ("jobs", "circuits", "executions"):
        table.add_row(name, f"{spent[name]:,} (predicted {predicted[name]:,})")
    table.add_row("seconds of the processor", seconds_line(result))
    for sentence in result["sentences"]:
        table.add_row("", sentence)
    return table


def solves_table(ledger: Ledger) -> Table:
    """A run's solves."""
    table = Table(title="Solves (QPU seconds of a solve are those that were predicted for all of it)", **_LOOK)
    for column in ("solve", "method", "processor", "begun", "state"):
        table.add_column(column, no_wrap=True)
    for column in ("jobs", "circuits", "executions", "QPU s", "used"):
        table.add_column(column, justify="right", no_wrap=True)
    for solve in ledger.solves():
        spent = used(solve)
        begun = time.strftime("%Y-%m-%d %H:%M", time.localtime(solve.created))
        table.add_row(
            str(solve.id),
            solve.kind,
            solve.processor,
            begun,
            solve.state,
            f"{spent['jobs']:,}",
            f"{spent['circuits']:,}",
            f"{spent['executions']:,}",
            f"{solve.predicted.get('qpu_seconds', 0):,.1f}",
            _seconds(spent["qpu_seconds"]),
        )
    return table


def jobs_table(solves: list[Solve]) -> Table:
    """Every job of some solves."""
    table = Table(title="Jobs (QPU seconds as predicted by the formula)", **_LOOK)
    for column in ("solve", "job", "state"):
        table.add_column(column, no_wrap=True)
    # Whole, that it can be copied: in a narrow terminal, over several lines.
    table.add_column("job id", overflow="fold", min_width=24)
    for column in ("circuits", "executions", "QPU s", "used"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("reason", overflow="fold")
    for solve in solves:
        for row in solve.jobs():
            again = f", attempt {row.attempt + 1}" if row.attempt else ""
            table.add_row(
                str(row.solve),
                f"{row.number}{again}",
                row.state,
                row.job_id or "–",
                f"{row.circuits:,}",
                f"{row.executions:,}",
                f"{row.predicted_seconds:,.1f}",
                _seconds(row.qpu_seconds),
                row.reason or "",
            )
    return table


def _images(plan: Plan) -> str:
    """How many images are run, and whether more were asked for than there are."""
    work, settings = plan.work, plan.work.settings
    asked = settings.samples if settings.tuning is None else settings.tuning.test_samples
    there = [f"{len(work.images):,}"]
    if asked > len(work.images):
        there.append(f"all that there are; {asked:,} were asked for")
    if settings.tuning is not None and settings.samples > len(work.training_images):
        there.append(f"of {settings.samples:,} training images there are {len(work.training_images):,}")
    return "; ".join(there)


def _prediction_lines(prediction: Prediction) -> list[tuple[str, str]]:
    evaluations = prediction.evaluations
    return [
        *([] if evaluations is None else [("evaluations per image", f"{evaluations:.1f}")]),
        ("circuits", f"{prediction.circuits:,}"),
        ("executions (circuits × shots)", f"{prediction.executions:,}"),
        ("jobs", f"{prediction.jobs:,}"),
        ("seconds of the processor", f"[bold]{prediction.qpu_seconds:,.1f}[/]"),
        ("by IBM's formula", prediction.formula),
    ]


def _budget(seconds: float | None, predicted: float) -> str:
    if seconds is None:
        return "none"
    short = "" if predicted <= seconds else ", less than is predicted: it will be cut short"
    return f"{seconds:,.1f} s of the processor{short}"


def _seconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds:,.1f}"


def _figures(title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False)
    table.add_column(style="dim")
    table.add_column()
    return table


_LOOK: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "padding": (0, 1, 0, 0), "box": SIMPLE_HEAD}
