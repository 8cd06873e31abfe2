"""Trained models on processors: what it will take, the work itself, what came of it.

From Python what the command does from the terminal: an `Order` is made into a `Plan`, which says what it will take, and
`submit` carries that out. `resume` goes on with whatever was interrupted, `cancel` gives it up. All that was asked of a
processor and answered is in the run's ledger::

    from pathlib import Path
    from qdeq_qiskit.hardware import Order, make_plan, submit

    plan = make_plan(Order(Path("runs/mine"), "fake_torino", samples=20))
    print(plan.prediction.qpu_seconds)
    print(submit(plan).result["accuracy"])

Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeq_qiskit.first_use import on_first_use

if TYPE_CHECKING:
    from qdeq_qiskit.hardware.solving import Solved, cancel, resume, submit
    from qdeq_qiskit.hardware.submission import Order, Plan, make_plan

__all__ = ["Order", "Plan", "Solved", "cancel", "make_plan", "resume", "submit"]

_HOME = {
    "Order": "submission",
    "Plan": "submission",
    "Solved": "solving",
    "cancel": "solving",
    "make_plan": "submission",
    "resume": "solving",
    "submit": "solving",
}

__getattr__, __dir__ = on_first_use(__name__, _HOME)
