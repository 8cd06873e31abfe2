"""The tables in figures: a line for each run, and a line for each row over its seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from qdeq_qiskit.reproduction.directory import ReproductionDirectory
from qdeq_qiskit.reproduction.plan import Plan, PlannedRow
from qdeq_qiskit.reproduction.work import is_trained
from qdeq_qiskit.training import RunDirectory, RunError

FINISHED, UNFINISHED, FAILED = "finished", "not finished", "failed"
CONTROL = "logistic regression"


@dataclass(frozen=True)
class Line:
    """One row of a table, over its seeds.

    Attributes:
        planned: the row.
        runs: a mapping of figures for each finished run; see `run_figures`.
        failures: (title, reason) of each run of it that failed.
    """

    planned: PlannedRow
    runs: tuple[dict[str, Any], ...]
    failures: tuple[tuple[str, str], ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every seed is finished."""
        return len(self.runs) == len(self.planned.seeds)

    @property
    def status(self) -> str:
        """finished, failed or not finished."""
        if self.complete:
            return FINISHED
        return FAILED if self.failures else UNFINISHED

    def values(self, name: str) -> list[float]:
        """One figure of every finished run that has it."""
        return [float(run[name]) for run in self.runs if run.get(name) is not None]


def lines_of(plan: Plan, directory: ReproductionDirectory) -> list[Line]:
    """Every row of a plan, with what is there of it."""
    return [_line(planned, directory) for planned in plan.rows]


def _line(planned: PlannedRow, directory: ReproductionDirectory) -> Line:
    runs, failures = [], []
    for seed in planned.seeds:
        path, title = directory.run(planned.row.name, seed), f"{planned.row.name}, seed {seed}"
        measures = directory.measures(path.name)
        reason = directory.books.failure(task_key(planned.row.name, seed))
        if measures is not None and is_trained(path):
            try:
                runs.append(run_figures(RunDirectory(path), measures))
            except RunError as error:
                failures.append((title, str(error)))
        elif reason is not None:
            failures.append((title, reason))
    return Line(planned, tuple(runs), tuple(failures))


def task_key(recipe: str, seed: int) -> str:
    """What the task of a row's seed is called."""
    return f"run-{recipe}-seed{seed}"


def run_figures(run: RunDirectory, measures: dict[str, Any]) -> dict[str, Any]:
    """The figures of a finished run.

    Raises:
        RunError: its result is damaged.
    """
    result, origin = run.result(), run.origin()
    return {
        "seed": result["seed"],
        "accuracy": result["test_accuracy"],
        "accuracy_low": result["test"]["accuracy_interval"][0],
        "accuracy_high": result["test"]["accuracy_interval"][1],
        "valid_accuracy": result["valid_accuracy"],
        "residual": measures["residual"],
        "converged": result["converged_fraction"],
        "evaluations": result["test"]["mean_evaluations"],
        "cpu_seconds": result.get("cpu_seconds"),
        "seconds": result["seconds"],
        "added_memory_mb": result.get("added_memory_mb"),
        "map_weights": result["parameters"]["circuit"],
        "head_weights": result["parameters"]["head"],
        "epochs": result["epochs"],
        "best_epoch": result["best_epoch"],
        "test_images": result["samples"]["test"],
        "control_accuracy": result["control"]["accuracy"],
        "control_weights": result["control"]["parameters"],
        "begun": origin["begun"],
        "version": origin["versions"].get("qdeq_qiskit"),
        "torch": origin["versions"].get("torch"),
    }


def summary(line: Line, plan: Plan, directory: ReproductionDirectory) -> dict[str, Any]:
    """A row's figures over its seeds, as `table.csv` has them; None where nothing is known.

    Means over seeds, but for: accuracy_std, the sample standard deviation (divisor: seeds − 1; None for one seed);
    residual, the median of the seeds' medians; added_memory_mb, the largest.
    """
    row = line.planned.row
    accuracy, residual = pd.Series(line.values("accuracy"), dtype=float), line.values("residual")
    memory = line.values("added_memory_mb")
    figures: dict[str, Any] = {
        "table": row.table,
        "row": row.title,
        "recipe": row.name,
        "encoding": None if row.is_classical else row.encoding,
        "mode": row.mode,
        "layers": row.layers,
        "qubits": row.qubits,
        "status": line.status,
        "seeds": len(line.runs),
        "seeds_planned": len(line.planned.seeds),
        "accuracy": _known(accuracy.mean()),
        "accuracy_std": _known(accuracy.std(ddof=1)) if len(accuracy) > 1 else None,
        "residual": float(pd.Series(residual).median()) if residual else None,
        **{name: _mean(line.values(name)) for name in ("converged", "evaluations", "cpu_seconds", "seconds")},
        "added_memory_mb": max(memory) if memory else None,
        "two_qubit_depth": two_qubit_depth(line, directory),
        "map_weights": _whole(line.values("map_weights")),
        "head_weights": _whole(line.values("head_weights")),
        "control_accuracy": _mean(line.values("control_accuracy")),
    }
    for publication in plan.recipe.published:
        published = publication.rows.get(row.name)
        figures[f"published: {publication.name}"] = None if published is None or plan.quick else published.accuracy
    return figures


def two_qubit_depth(line: Line, directory: ReproductionDirectory) -> int | None:
    """Layers of two-qubit gates of a row's compiled circuit; None without a circuit, or if it was not compiled yet."""
    key = line.planned.row.circuit_key
    cost = None if key is None else directory.circuit(key)
    return None if cost is None else int(cost["two_qubit_depth"])


def controls(lines: Sequence[Line]) -> list[tuple[float, int]]:
    """Accuracy and number of weights of logistic regression on the rows' features, each combination once."""
    runs = [run for line in lines for run in line.runs]
    return list(dict.fromkeys((round(run["control_accuracy"], 6), run["control_weights"]) for run in runs))


def runs_table(lines: Sequence[Line]) -> pd.DataFrame:
    """A line for each finished run."""
    return pd.DataFrame(
        [
            {"table": line.planned.row.table, "row": line.planned.row.title, "recipe": line.planned.row.name, **run}
            for line in lines
            for run in line.runs
        ]
    )


def rows_table(lines: Sequence[Line], plan: Plan, directory: ReproductionDirectory) -> pd.DataFrame:
    """A line for each row, finished or not."""
    return pd.DataFrame([summary(line, plan, directory) for line in lines])


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _whole(values: list[float]) -> int | None:
    return int(values[0]) if values else None


def _known(value: float) -> float | None:
    return None if pd.isna(value) else float(value)
