"""Quantum Deep Equilibrium Models on Qiskit (arXiv 2410.23940).

The floors are the subpackages `circuits`, `equilibrium`, `noise`, `backends`, `models`, `training` and `studies`.
The three names that a program mostly begins with are here too, imported on first use so that `import qdeq_qiskit`
costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdeq_qiskit.circuits import QNNCircuit
    from qdeq_qiskit.equilibrium import Equilibrium
    from qdeq_qiskit.models import QDEQClassifier

__version__ = "0.1.0"

__all__ = ["Equilibrium", "QDEQClassifier", "QNNCircuit", "__version__"]

_HOME = {"Equilibrium": "equilibrium", "QDEQClassifier": "models", "QNNCircuit": "circuits"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
