"""Backends that hold something measured or computed in this process, which no recipe can name."""

from __future__ import annotations

from typing import Literal, Self, final

from pydantic import PrivateAttr
from torch import nn

from qdeq_qiskit.backends.kinds import Backend
from qdeq_qiskit.backends.noisy import NoisyCircuit, NoisyLayer
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Newton, Solver


class InMemoryBackend(Backend):
    """Repeatable values that hold a processor's errors. For `QDEQClassifier.on_backend`; what it is on is not saved."""

    @property
    def exact(self) -> bool:
        return True

    @property
    def noisy(self) -> bool:
        return True

    def default_solver(self) -> Solver:
        return Newton()


@final
class NoisyCircuitBackend(InMemoryBackend):
    """Expectation values of a compiled circuit with its noise, in double precision."""

    kind: Literal["noisy_circuit"] = "noisy_circuit"
    _circuit: NoisyCircuit = PrivateAttr()

    @classmethod
    def of(cls, circuit: NoisyCircuit) -> Self:
        """The backend of one circuit; models on it must have that circuit."""
        backend = cls()
        backend._circuit = circuit
        return backend

    def layer(self, qnn: QNNCircuit, weight: nn.Parameter | None = None) -> NoisyLayer:
        # A classifier builds its circuit anew, with parameters of the same names; compiled was the first one.
        return NoisyLayer(self._circuit, precision="double", weight=weight)

    def describe(self) -> str:
        return "the calibration's noise" + ("" if self._circuit.encoder_noise else ", encoder without noise")
