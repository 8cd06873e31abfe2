"""Finite shots on the ideal circuit."""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field
from qiskit.primitives import BackendEstimatorV2
from torch import nn

from qdeq_qiskit.backends.aer import require_aer
from qdeq_qiskit.backends.kinds._backend import Backend
from qdeq_qiskit.backends.machine import EstimatorMachine
from qdeq_qiskit.backends.sampled import SampledLayer, sampled_solver
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Solver


@final
class ShotsBackend(Backend):
    """Noiseless circuits, each run for a number of shots on Aer."""

    kind: Literal["shots"] = "shots"
    shots: int = Field(default=4096, ge=1, description="Shots of each circuit.")
    seed: int | None = Field(default=0, ge=0, description="Seed of the shots; null for a new one every time.")

    @property
    def exact(self) -> bool:
        return False

    def layer(self, qnn: QNNCircuit, weight: nn.Parameter | None = None) -> SampledLayer:
        estimator = BackendEstimatorV2(backend=require_aer().AerSimulator(method="statevector"))
        return SampledLayer(qnn, EstimatorMachine(qnn, estimator, shots=self.shots, seed=self.seed), weight=weight)

    def default_solver(self) -> Solver:
        return sampled_solver()

    def describe(self) -> str:
        return f"ideal circuit, {self.shots} shots"
