"""Finite shots on the ideal circuit."""

from __future__ import annotations

import logging
from typing import Literal, final

from pydantic import Field
from qiskit.primitives import BackendEstimatorV2
from torch import nn

from qdeq_qiskit.aer import require_aer
from qdeq_qiskit.backends.aer_cost import aer_cost
from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.kinds._backend import Backend
from qdeq_qiskit.backends.machine import EstimatorMachine, Machine
from qdeq_qiskit.backends.memory import check_states
from qdeq_qiskit.backends.noisy import EffectiveMachine, NoisyCircuit, NotEffectiveError, check_outcomes
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.backends.spsa import WeightGradient
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import SampledSolver, Solver
from qdeq_qiskit.noise import CircuitNoise

_log = logging.getLogger(__name__)


@final
class ShotsBackend(Backend):
    """Noiseless circuits, each run for a number of shots."""

    kind: Literal["shots"] = "shots"
    shots: int = Field(default=4096, ge=1, le=10**16, description="Shots of each circuit.")
    seed: int | None = Field(default=0, ge=0, lt=2**63, description="Seed of the shots; null for a new one every time.")
    method: Literal["auto", "effective", "aer"] = Field(
        default="auto",
        description="effective: shots drawn from computed outcome probabilities; aer: every circuit on Aer; auto: "
        "effective where the circuit allows it.",
    )
    weight_gradient: WeightGradient = Field(
        default="parameter_shift",
        description="How gradients of the weights are measured: parameter_shift, or spsa (two circuits a sample).",
    )

    @property
    def exact(self) -> bool:
        return False

    @property
    def noisy(self) -> bool:
        return False

    def layer(self, qnn: QNNCircuit, weight: nn.Parameter | None = None) -> SampledLayer:
        return SampledLayer(qnn, self.machine(qnn), weight_gradient=self.weight_gradient, weight=weight)

    def machine(self, qnn: QNNCircuit) -> Machine:
        """What runs the circuit, row by row of its angles.

        Raises:
            ValueError: as `layer`.
        """
        check_states(qnn.num_qubits, qnn.num_outputs)
        if self.method != "aer":
            try:
                circuit = NoisyCircuit(qnn, compile_circuit(qnn), CircuitNoise(qnn.num_qubits))
                check_outcomes(circuit, insist=self.method == "effective")
                return EffectiveMachine(circuit, shots=self.shots, seed=self.seed)
            except NotEffectiveError as error:
                if self.method == "effective":
                    raise ValueError(f"method = 'effective': {error}; method = 'aer' runs every circuit") from error
                _log.warning("every circuit is run on Aer: %s", error)
        estimator = BackendEstimatorV2(backend=require_aer().AerSimulator(method="statevector"))
        # Measured on a machine of its own, so that the other one starts with no shots drawn and none counted.
        trial = EstimatorMachine(qnn, estimator, shots=self.shots, seed=self.seed)
        _log.warning("%s", aer_cost(trial, trial.run))
        return EstimatorMachine(qnn, estimator, shots=self.shots, seed=self.seed)

    def default_solver(self) -> Solver:
        return SampledSolver()

    def describe(self) -> str:
        route = "" if self.method == "auto" else f", {self.method}"
        return f"ideal circuit, {self.shots} shots{route}"
