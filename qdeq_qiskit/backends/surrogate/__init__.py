"""The surrogate: an amplitude model's operators measured once on a machine, then solved classically for every sample.

Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeq_qiskit.first_use import on_first_use

if TYPE_CHECKING:
    from qdeq_qiskit.backends.surrogate.designs import DESIGNS, ProbeDesign, make_design
    from qdeq_qiskit.backends.surrogate.dual_frame import DualFrame
    from qdeq_qiskit.backends.surrogate.errors import SurrogateError
    from qdeq_qiskit.backends.surrogate.layer import SurrogateBackend, SurrogateLayer
    from qdeq_qiskit.backends.surrogate.measured import MeasuredOperators, measure_operators
    from qdeq_qiskit.backends.surrogate.plan import DEFAULT_DESIGN, ProbePlan, plan_probes
    from qdeq_qiskit.backends.surrogate.probe_circuit import ProbeCircuit
    from qdeq_qiskit.backends.surrogate.replicates import solve_replicates

_HOME = {
    "DEFAULT_DESIGN": "plan",
    "DESIGNS": "designs",
    "DualFrame": "dual_frame",
    "MeasuredOperators": "measured",
    "ProbeCircuit": "probe_circuit",
    "ProbeDesign": "designs",
    "ProbePlan": "plan",
    "SurrogateBackend": "layer",
    "SurrogateError": "errors",
    "SurrogateLayer": "layer",
    "make_design": "designs",
    "measure_operators": "measured",
    "plan_probes": "plan",
    "solve_replicates": "replicates",
}

__all__ = [
    "DEFAULT_DESIGN",
    "DESIGNS",
    "DualFrame",
    "MeasuredOperators",
    "ProbeCircuit",
    "ProbeDesign",
    "ProbePlan",
    "SurrogateBackend",
    "SurrogateError",
    "SurrogateLayer",
    "make_design",
    "measure_operators",
    "plan_probes",
    "solve_replicates",
]

__getattr__, __dir__ = on_first_use(__name__, _HOME)
