"""The report of a solve: what ran where, what it took, what came of it; one HTML file that needs nothing beside it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from qdeq_qiskit import __version__, recipes
from qdeq_qiskit.backends.runtime.solve import Solve
from qdeq_qiskit.equilibrium import Reason
from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.hardware.coupling_figure import coupling_figure
from qdeq_qiskit.hardware.report.figures import half_widths, tuning_losses
from qdeq_qiskit.hardware.report.sections import sections_of
from qdeq_qiskit.hardware.solve_folder import SolveFolder
from qdeq_qiskit.hardware.wording import reason_title, seconds_line
from qdeq_qiskit.hardware.work import Work
from qdeq_qiskit.training.evaluation import Evaluation
from qdeq_qiskit.training.report import figures
from qdeq_qiskit.training.report.page import embedded_png, page_templates, png_of

TEMPLATE = "report.html.j2"
_WHAT = {
    "circuits": "Every evaluation of the circuit for each image ran on the processor.",
    "surrogate": "The circuit's operators were measured once on the processor; the fixed points were found without it.",
    "tune": "The model was trained a few steps further on the processor, and tested on it before and after.",
}


def write_report(solve: Solve, work: Work, folder: SolveFolder, result: dict[str, Any]) -> Path:
    """Write `report.html` and `layout.png`.

    Args:
        solve: in the ledger, with its jobs.
        work: what was done.
        folder: the solve's folder, with `test.safetensors`.
        result: as `result.json` has it.

    Returns:
        The report's path.
    """
    test = Evaluation.load(folder.test)
    pictures = {}
    for name, figure in _figures(work, test, result):
        picture = png_of(figure)
        pictures[name] = embedded_png(picture, figure)
        if name == "layout":
            write_atomically(folder.layout, picture)
    page = (
        page_templates(Path(__file__).parent)
        .get_template(TEMPLATE)
        .render(
            name=work.subject.directory.origin().get("name", work.subject.directory.path.name),
            result=result,
            what=_WHAT[result["method"]],
            compiled=work.compile_figures.lines(),
            seconds=seconds_line(result),
            reasons=[(reason_title(name), count, Reason[name].sentence) for name, count in result["reasons"].items()],
            sections=sections_of(result),
            jobs=solve.jobs(),
            pictures=pictures,
            recipe_text=recipes.dump(work.settings.backend),
            begun=time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(solve.created)),
            version=__version__,
        )
    )
    write_atomically(folder.report, page)
    return folder.report


def _figures(work: Work, test: Evaluation, result: dict[str, Any]) -> Iterator[tuple[str, Figure]]:
    """The figures that there are numbers for, by the names that the template knows."""
    compiled = work.compile_figures
    target = work.connection.snapshot.target
    yield "layout", coupling_figure(target, compiled.qubits, name=compiled.processor, wires=compiled.model_qubits)
    names = work.subject.splits.class_names
    yield "predictions", figures.predictions(work.images.pixels, test.labels, test.probabilities, names)
    yield "confusion", figures.confusion_matrix(test.labels, test.predicted, names)
    if test.trace.size and len(test.trace) > 1:
        yield "convergence", figures.convergence(test.trace, tolerance=None)
    if len(test.half_width):
        yield "half_widths", half_widths(test.half_width, test.confidence)
    if result.get("tuning", {}).get("loss"):
        yield "losses", tuning_losses(result["tuning"]["loss"])
