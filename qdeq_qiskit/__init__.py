"""Quantum Deep Equilibrium Models on Qiskit (arXiv 2410.23940).

The floors are the subpackages `circuits`, `equilibrium`, `noise`, `backends`, `models`, `training`, `studies`,
`hardware` and `sklearn`.
The three names that a program mostly begins with are here too, imported on first use so that `import qdeq_qiskit`
costs next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeq_qiskit.first_use import on_first_use

if TYPE_CHECKING:
    from qdeq_qiskit.circuits import QNNCircuit
    from qdeq_qiskit.equilibrium import Equilibrium
    from qdeq_qiskit.models import QDEQClassifier

__version__ = "0.1.0"

__all__ = ["Equilibrium", "QDEQClassifier", "QNNCircuit", "__version__"]

_HOME = {"Equilibrium": "equilibrium", "QDEQClassifier": "models", "QNNCircuit": "circuits"}

__getattr__, __dir__ = on_first_use(__name__, _HOME)
