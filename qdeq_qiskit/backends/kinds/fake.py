"""Calibrated copies of IBM processors that Qiskit Runtime ships."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, final

from pydantic import Field, field_validator
from qiskit.primitives import BackendEstimatorV2
from qiskit.transpiler import generate_preset_pass_manager
from torch import nn

from qdeq_qiskit.backends.aer import require_aer
from qdeq_qiskit.backends.kinds._backend import Backend
from qdeq_qiskit.backends.machine import EstimatorMachine
from qdeq_qiskit.backends.sampled import SampledLayer, sampled_solver
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Solver
from qdeq_qiskit.recipes import nearest


@final
class FakeBackend(Backend):
    """A fake backend of qiskit_ibm_runtime: its coupling map, basis gates, gate noise and readout error.

    Encoder and ansatz are transpiled together, once; samples are run on Aer with the noise of the calibration.
    """

    kind: Literal["fake"] = "fake"
    name: str = Field(description="The processor's name, such as fake_manila.")
    shots: int = Field(default=4096, ge=1, description="Shots of each circuit.")
    seed: int = Field(default=0, ge=0, description="Seed of the transpiler and of the shots.")
    optimization_level: Literal[0, 1, 2, 3] = Field(default=3, description="Effort of the transpiler, 0 to 3.")

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in fake_backends():
            raise ValueError(_unknown(name))
        return name

    @property
    def exact(self) -> bool:
        return False

    def layer(self, qnn: QNNCircuit, weight: nn.Parameter | None = None) -> SampledLayer:
        processor = fake_backends()[self.name]()
        if qnn.num_qubits > processor.num_qubits:
            raise ValueError(
                f"{self.name} has {processor.num_qubits} qubits, but the circuit needs {qnn.num_qubits}; "
                f"{_large_enough(qnn.num_qubits)} would do"
            )
        pass_manager = generate_preset_pass_manager(
            optimization_level=self.optimization_level, backend=processor, seed_transpiler=self.seed
        )
        estimator = BackendEstimatorV2(backend=require_aer().AerSimulator.from_backend(processor))
        machine = EstimatorMachine(qnn, estimator, shots=self.shots, pass_manager=pass_manager, seed=self.seed)
        return SampledLayer(qnn, machine, noisy_encoder=True, weight=weight)

    def default_solver(self) -> Solver:
        return sampled_solver()

    def describe(self) -> str:
        return f"{self.name} (simulated with its noise), {self.shots} shots"


@cache
def fake_backends() -> dict[str, type[Any]]:
    """The fake backends that are installed, by name."""
    from qiskit_ibm_runtime import fake_provider
    from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2

    named: dict[str, type[Any]] = {}
    for item in vars(fake_provider).values():
        if isinstance(item, type) and issubclass(item, FakeBackendV2) and "backend_name" in vars(item):
            named[vars(item)["backend_name"]] = item
    return dict(sorted(named.items()))


def _unknown(name: str) -> str:
    close = nearest(name, fake_backends())
    guess = f"did you mean {close!r}? " if close else ""
    return f"there is no fake backend {name!r}; {guess}(there are {', '.join(fake_backends())})"


def _large_enough(num_qubits: int) -> str:
    """A few common processors that the circuit fits on."""
    usual = ("fake_manila", "fake_nairobi", "fake_guadalupe", "fake_torino")
    return ", ".join(
        name for name in usual if name in fake_backends() and fake_backends()[name]().num_qubits >= num_qubits
    )
