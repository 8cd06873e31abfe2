"""What can be done with a model on a processor, one file each."""

from __future__ import annotations

from qdeq_qiskit.hardware.methods._method import Method, Outcome
from qdeq_qiskit.hardware.methods.circuits import Circuits
from qdeq_qiskit.hardware.methods.surrogate import Surrogate
from qdeq_qiskit.hardware.methods.tune import Tune
from qdeq_qiskit.hardware.settings import MethodName

METHODS: dict[MethodName, Method] = {"circuits": Circuits(), "surrogate": Surrogate(), "tune": Tune()}

__all__ = ["METHODS", "Method", "Outcome"]
