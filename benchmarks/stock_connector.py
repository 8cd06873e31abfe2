"""The same training step through the classes that a Qiskit user has: EstimatorQNN, TorchConnector, our estimator.

Angle encoding; without a penalty, because the stock connector's output is detached and a penalty through it is lost.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from qiskit_machine_learning.connectors import TorchConnector
from torch import nn

from qdeq_qiskit.backends.connector import QNNConnector
from qdeq_qiskit.circuits import QNNCircuit, angle_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.circuits.encoders import ryzxy_gates
from qdeq_qiskit.equilibrium import Equilibrium, nearest_lift
from qdeq_qiskit.training.recipe import TrainingRecipe

from .digit_batches import data_name, feature_batches
from .row import Row, timed_row
from .stock_circuit import heisenberg_qnn
from .timing import interleaved

CONNECTORS = {"stock": TorchConnector, "ours": QNNConnector}
TARGETS_MS = {"torch": 12.0, "aer": 30.0}


def rows(*, quick: bool) -> Iterator[Row]:
    """Milliseconds of a step with either connector and either engine, timed turn by turn."""
    cases = {
        f"{connector}-connector-{engine}": training_step(connector=connector, engine=engine)
        for connector in CONNECTORS
        for engine in TARGETS_MS
    }
    counts = {name: 200 if name.endswith("torch") else 40 for name in cases}
    if quick:
        counts = {name: count // 10 for name, count in counts.items()}
    timings = interleaved(cases, repetitions=counts, warmup=5)
    for name, timing in timings.items():
        connector, engine = name.split("-connector-")
        yield timed_row(
            name,
            f"angle step through EstimatorQNN, {CONNECTORS[connector].__name__}, HeisenbergEstimator; {engine} engine",
            timing,
            target=TARGETS_MS[engine],
            note=f"batch 256 of {data_name()}, solver and adjoint the library's defaults",
        )


def training_step(*, connector: str, engine: str) -> Callable[[], None]:
    """A function that trains a fresh model by one step each time it is called.

    Args:
        connector: "stock" or "ours".
        engine: "torch" or "aer".
    """
    qnn = QNNCircuit.compose(angle_encoder(4, ryzxy_gates(4)), qdeq_ansatz(4), z_readout(4))
    start = torch.empty(qnn.num_weights).uniform_(-torch.pi, torch.pi, generator=torch.Generator().manual_seed(0))
    layer = CONNECTORS[connector](heisenberg_qnn(qnn, engine=engine), initial_weights=start.numpy())
    equilibrium = Equilibrium(layer, lift=nearest_lift(16, 4), on_failure="record")
    torch.manual_seed(0)
    head = nn.Linear(16, 4)
    parameters = [*equilibrium.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=5e-3, fused=True)
    batches = itertools.cycle(feature_batches(TrainingRecipe.load("mnist4-angle")))

    def step() -> None:
        features, labels = next(batches)
        logits = head(torch.relu(equilibrium(features).state))
        loss = torch.nn.functional.cross_entropy(logits, labels)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 0.25)
        optimiser.step()

    return step
