"""A page about a reproduction, for documentation: its tables and figures, how they came about, with which versions."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.reproduction.markdown import MEANS_NOTHING, notes, tables
from qdeq_qiskit.reproduction.plots import NAMES

if TYPE_CHECKING:
    from qdeq_qiskit.reproduction.reproducing import Reproduced

PICTURES = Path("images") / "results"
_CAPTIONS = {
    "accuracy-layers": "Test accuracy against the number of layers, equilibria to the right. Bars are one sample "
    "standard deviation over seeds to either side, and one seed has none; the dashed line is logistic regression on "
    "the same pixels. Points that would hide each other are set beside each other.",
    "accuracy-evaluations": "Test accuracy against what one answer costs: evaluations of the map for one image. A "
    "coherent model evaluates one circuit, which is the deeper the more layers (L) it has.",
    "residual": "How far the state that is read is from a fixed point: medians over images and seeds, bars from the "
    "smallest to the largest seed.",
}


def write_page(path: Path, reproduced: Reproduced) -> Path:
    """Write the page, and copy the figures into the folder `images/results` beside it.

    Everything on it follows from the reproduction's folder, so that it may be written anew at any time.

    Raises:
        CannotWriteError: the folder is missing, read-only or full.
    """
    directory, plan = reproduced.directory, reproduced.plan
    folder = path.parent / PICTURES
    pictures = [name for name in NAMES if (directory.figures / f"{name}.png").is_file()]
    if pictures:
        folder.mkdir(parents=True, exist_ok=True)
    parts = [f"# {'Results' if plan.name == 'paper' else plan.name}", ""]
    parts += [MEANS_NOTHING, ""] if plan.quick else []
    parts += [*_introduction(reproduced), ""]
    parts += tables(plan, reproduced.lines, directory)
    for name in pictures:
        shutil.copyfile(directory.figures / f"{name}.png", folder / f"{name}.png")
        caption = _CAPTIONS[name]
        parts += [f"![{caption.split('.')[0].split(':')[0]}]({(PICTURES / name).as_posix()}.png)", "", caption, ""]
    parts += ["## What the columns mean", "", *notes(plan), "", "## How they came about", "", *_origin(reproduced)]
    write_atomically(path, "\n".join(parts) + "\n")
    return path


def _introduction(reproduced: Reproduced) -> list[str]:
    plan = reproduced.plan
    runs = sum(len(line.runs) for line in reproduced.lines)
    rows = sum(bool(line.runs) for line in reproduced.lines)
    return [
        f"{plan.recipe.description} {rows} of {len(plan.rows)} rows, {runs} trained models; "
        "[how to make these tables yourself](how-to/reproduce-the-paper.md).",
        "",
        "```bash",
        reproduced.command,
        "```",
        "",
        "This page is written by that command (`--page`) from the finished runs, its sentences too: it says what came "
        "out, also where a circuit loses. Models of this size are classically cheap, and nothing here is a quantum "
        "advantage. Rows with one seed say nothing of how much a seed can do; where there are several, a difference no "
        "larger than the ± is none.",
    ]


def _origin(reproduced: Reproduced) -> list[str]:
    origin = reproduced.directory.origin()
    runs = [run for line in reproduced.lines for run in line.runs]
    used = Counter(f"qdeq_qiskit {run['version']}, torch {run['torch']}" for run in runs)
    versions = ", ".join(f"{package} {number}" for package, number in origin["versions"].items())
    begun = sorted(run["begun"] for run in runs)
    found = [f"- Written {origin['last']} with {versions}."]
    if begun:
        found.append(f"- Trained from {begun[0][:10]} to {begun[-1][:10]} with {'; '.join(sorted(used))}.")
    found += [
        "- Data: the images are split once, in the same way for every row and seed with the same `data` in its recipe; "
        "those for testing were looked at with the weights of the best validation epoch alone.",
        "- Each row is a training recipe in `training/`; the tables are `reproductions/"
        f"{reproduced.plan.name}.yaml`. Every run with its seed is a line of `runs.csv` in the folder of the command.",
    ]
    return found
