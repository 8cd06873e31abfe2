"""Words that the terminal and the report of a solve share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qdeq_qiskit.equilibrium import Reason

_REASONS = {
    Reason.CONVERGED: "converged",
    Reason.WITHIN_NOISE: "fixed point known within the noise",
    Reason.MAX_ITERATIONS: "iterations ran out",
    Reason.BUDGET: "stopped by the budget",
    Reason.UNDETERMINED: "not determined by the shots",
    Reason.NOT_SOUGHT: "no fixed point sought",
}


def reason_title(name: str) -> str:
    """Why a search ended, in a few words, by the reason's name."""
    reason = Reason[name]
    return _REASONS.get(reason, name.replace("_", " ").lower())


def seconds_line(result: Mapping[str, Any]) -> str:
    """Seconds of the processor that a solve used, against those predicted, as `result.json` has them."""
    spent, predicted = result["used"], result["predicted"]["qpu_seconds"]
    if result["simulated"]:
        return f"{spent['formula_seconds']:,.1f} by the formula (predicted {predicted:,.1f}); none was used"
    charged = spent["qpu_seconds"]
    known = "not told yet" if charged is None else f"{charged:,.1f} charged"
    return f"{known}; {spent['formula_seconds']:,.1f} by the formula (predicted {predicted:,.1f})"
