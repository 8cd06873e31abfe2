"""Circuits that a processor would have to run: ours beside those of a stock EstimatorQNN with TorchConnector.

Both evaluate the same circuit with shots through Qiskit's own BackendEstimatorV2, on a backend that counts what it is
given. So nobody's own bookkeeping is believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from qiskit.primitives import BackendEstimatorV2
from qiskit_aer import AerSimulator
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
from qiskit_machine_learning.neural_networks import EstimatorQNN
from torch import Tensor, nn

from qdeq_qiskit.backends.machine import EstimatorMachine
from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Equilibrium, KrasnoselskiiMann, nearest_lift

from .row import Row
from .stock_circuit import angle_circuit

SHOTS = 32
ITERATIONS = 10
PEER = "EstimatorQNN with TorchConnector and ParamShiftEstimatorGradient, in this run"


def rows(*, quick: bool) -> Iterator[Row]:
    """Circuits for one evaluation, for its gradient, for an equilibrium, and for a training step."""
    qnn = angle_circuit()
    outputs, samples = qnn.num_outputs, 1 if quick else 2
    cases = {"ours": _ours(qnn), "stock": _stock(qnn)}
    x = torch.rand(samples, qnn.num_features, generator=torch.Generator().manual_seed(0))
    for name, what, work in (
        ("value", "one evaluation of q", _value),
        ("gradient", "one evaluation and its gradient by inputs and weights", _gradient),
        ("inference", f"one equilibrium, {ITERATIONS} damped steps", _inference),
        ("step", f"one training step: {ITERATIONS} damped steps and the implicit gradient", _training_step),
    ):
        circuits = {case: _counted(layer, work, x) / samples for case, layer in cases.items()}
        yield Row(
            f"circuits-{name}",
            f"circuits a sample: {what}, 4 qubits, {outputs} outputs",
            circuits["ours"],
            "circuits",
            peer=circuits["stock"],
            peer_name=PEER,
            note="counted by the backend",
        )
        yield Row(
            f"circuits-{name}-ratio",
            f"the same: times fewer, for {outputs} outputs",
            circuits["stock"] / circuits["ours"],
            "×",
            outputs,
            "higher",
            peer_name=PEER,
        )


class CountingSimulator(AerSimulator):
    """Aer, and how many circuits it was given."""

    circuits_given = 0

    def run(self, run_input: Any, *arguments: Any, **options: Any) -> Any:
        circuits = run_input if isinstance(run_input, list) else [run_input]
        CountingSimulator.circuits_given += len(circuits)
        return super().run(run_input, *arguments, **options)


def _ours(qnn: QNNCircuit) -> nn.Module:
    machine = EstimatorMachine(qnn, _estimator(), shots=SHOTS, seed=0)
    return SampledLayer(qnn, machine)


def _stock(qnn: QNNCircuit) -> nn.Module:
    estimator = _estimator()
    network = EstimatorQNN(
        circuit=qnn.circuit,
        estimator=estimator,
        observables=list(qnn.observables),
        input_params=list(qnn.input_parameters),
        weight_params=list(qnn.weight_parameters),
        gradient=ParamShiftEstimatorGradient(estimator),
        input_gradients=True,
        default_precision=(SHOTS - 0.5) ** -0.5,
    )
    return TorchConnector(network)


def _estimator() -> BackendEstimatorV2:
    options = {"default_precision": (SHOTS - 0.5) ** -0.5, "seed_simulator": 0}
    return BackendEstimatorV2(backend=CountingSimulator(method="statevector"), options=options)


def _counted(layer: nn.Module, work: Callable[[nn.Module, Tensor], None], x: Tensor) -> int:
    before = CountingSimulator.circuits_given
    work(layer, x)
    return CountingSimulator.circuits_given - before


def _value(layer: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        layer(x)


def _gradient(layer: nn.Module, x: Tensor) -> None:
    layer(x.clone().requires_grad_()).sum().backward()


def _inference(layer: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        _equilibrium(layer)(x)


def _training_step(layer: nn.Module, x: Tensor) -> None:
    _equilibrium(layer)(x).state.square().sum().backward()


def _equilibrium(layer: nn.Module) -> Equilibrium:
    solver = KrasnoselskiiMann(tolerance=0, max_iterations=ITERATIONS)
    return Equilibrium(layer, lift=nearest_lift(16, 4), solver=solver, on_failure="record")
