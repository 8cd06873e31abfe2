"""The result of a solve, in plain values."""

from __future__ import annotations

from typing import Any

import numpy as np

from qdeq_qiskit.backends.runtime.job import JobState
from qdeq_qiskit.backends.runtime.solve import Solve
from qdeq_qiskit.equilibrium import Reason
from qdeq_qiskit.hardware.methods import Outcome
from qdeq_qiskit.hardware.work import Work
from qdeq_qiskit.training.evaluation import Evaluation, evaluate


def result_of(solve: Solve, work: Work, outcome: Outcome, *, seconds: float) -> dict[str, Any]:
    """Everything that came out, as `result.json` and the ledger hold it.

    Args:
        solve: in the ledger.
        work: what was done.
        outcome: what came of it.
        seconds: how long this process took for it.
    """
    settings, processor = work.settings, work.connection.processor
    low, high = outcome.accuracy_interval
    return {
        "solve": solve.id,
        "method": settings.method,
        "processor": processor.name,
        "simulated": processor.is_local,
        "backend": work.backend.describe(),
        "samples": len(outcome.test.labels),
        "model_digest": settings.model_digest,
        "test_digest": settings.test_digest,
        "max_qpu_seconds": settings.max_qpu_seconds,
        "accuracy": outcome.test.accuracy,
        "accuracy_interval": [float(low), float(high)],
        "accuracy_interval_of": outcome.accuracy_interval_of,
        "metrics": outcome.test.metrics(),
        "reasons": reasons_of(outcome.test),
        "without_estimate": int(np.isnan(outcome.test.half_width).sum()),
        "noiseless": _noiseless(work, outcome),
        "compiled": work.compile_figures.figures(),
        "predicted": solve.predicted,
        "used": used(solve),
        "sentences": list(outcome.sentences),
        "seconds": seconds,
        **outcome.figures,
    }


def used(solve: Solve) -> dict[str, Any]:
    """What a solve has taken: jobs that were run, circuits, executions, and seconds where they are known."""
    rows = solve.jobs()
    done = [row for row in rows if row.state == JobState.DONE.value]
    charged = [row.qpu_seconds for row in rows if row.qpu_seconds is not None]
    return {
        "jobs": len(done),
        "attempts": len(rows),
        "circuits": sum(row.circuits for row in done),
        "executions": sum(row.executions for row in done),
        "formula_seconds": sum(row.predicted_seconds for row in done),
        "qpu_seconds": sum(charged) if charged else None,
    }


def reasons_of(test: Evaluation) -> dict[str, int]:
    """How many images' searches ended for which reason, by the reason's name."""
    counts = np.bincount(test.reason.astype(int), minlength=len(Reason))
    return {reason.name: int(counts[reason]) for reason in Reason if counts[reason]}


def _noiseless(work: Work, outcome: Outcome) -> dict[str, Any] | None:
    """The same images on the exact backend of the training, beside these; None if it was trained on another one."""
    model, test = outcome.model, outcome.test
    if not model.backend.exact or model.backend.noisy:
        return None
    exact = evaluate(model, work.images)
    moved = np.linalg.norm(test.state - exact.state, axis=1)
    return {
        "accuracy": exact.accuracy,
        "same_prediction": float((exact.predicted == test.predicted).mean()),
        "median_displacement": float(np.median(moved)),
    }
