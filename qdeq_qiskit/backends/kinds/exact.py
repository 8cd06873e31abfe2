"""Exact simulation."""

from __future__ import annotations

from typing import Literal, final

from pydantic import Field
from torch import nn

from qdeq_qiskit.backends.engines import resolve_engine
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.kinds._backend import Backend
from qdeq_qiskit.backends.memory import check_states
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Newton, Solver


@final
class ExactBackend(Backend):
    """Noiseless expectation values without shots; trains."""

    kind: Literal["exact"] = "exact"
    engine: Literal["auto", "torch", "aer"] = Field(
        default="auto", description="What simulates the weight block: torch, aer, or auto, which chooses."
    )
    device: str = Field(
        default="cpu", pattern=r"^(cpu|cuda(:\d+)?)$", description="Where: cpu, cuda, or cuda:1 for the second GPU."
    )
    precision: Literal["single", "double"] = Field(default="single", description="single or double precision.")

    @property
    def exact(self) -> bool:
        return True

    @property
    def noisy(self) -> bool:
        return False

    def layer(self, qnn: QNNCircuit, weight: nn.Parameter | None = None) -> ExactLayer:
        check_states(qnn.num_qubits, qnn.num_outputs)
        return ExactLayer(qnn, engine=self.engine, device=self.device, precision=self.precision, weight=weight)

    def default_solver(self) -> Solver:
        return Newton()

    def describe(self) -> str:
        return f"exact ({resolve_engine(self.engine)} engine on {self.device}, {self.precision} precision)"
