"""Layers that count the circuits that they run, and what the formulas say they should."""

from __future__ import annotations

from functools import cache

import torch
from multinomial_machine import MultinomialMachine
from torch import nn

from qdeq_qiskit.backends.sampled import SampledLayer
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, angle_encoder, qdeq_ansatz, ryzxy_gates, z_readout
from qdeq_qiskit.equilibrium import Equilibrium, Solution, nearest_lift

SAMPLES, N, D = 3, 4, 16


def layer(encoding: str, shots: int = 256) -> SampledLayer:
    """The paper's 4-qubit layer, one for all tests of a module."""
    return _layer(encoding, shots)


@cache
def _layer(encoding: str, shots: int) -> SampledLayer:
    if encoding == "angle":
        qnn = QNNCircuit.compose(angle_encoder(N, ryzxy_gates(N)), qdeq_ansatz(N), z_readout(N))
    else:
        qnn = QNNCircuit.compose(amplitude_encoder(N, D), qdeq_ansatz(N), z_readout(N), num_amplitudes=D)
    weight = torch.rand(qnn.num_weights, generator=torch.Generator().manual_seed(1), dtype=torch.double) * 6 - 3
    machine = MultinomialMachine(qnn, shots=shots, seed=3)
    return SampledLayer(qnn, machine, weight=nn.Parameter(weight))


def gates_of_the_weights(encoding: str) -> int:
    """S_θ, from the circuit itself."""
    qnn = layer(encoding).qnn
    shifts = 0
    for instruction in qnn.circuit.data:
        parameters = {p for angle in instruction.operation.params for p in getattr(angle, "parameters", ())}
        if parameters & set(qnn.weight_parameters):
            shifts += 4 if instruction.operation.name.startswith("c") else 2
    return shifts


def solved(encoding: str, *, shots: int = 256, **options: object) -> tuple[Solution, int, int]:
    """The solution, the circuits that the forward pass ran, and those of the backward pass."""
    machine = layer(encoding, shots)
    x = torch.randn(SAMPLES, D, generator=torch.Generator().manual_seed(2), dtype=torch.double)
    before = machine.circuits_run
    equilibrium = Equilibrium(machine, lift=nearest_lift(D, N).double(), on_failure="record", **options)
    solution = equilibrium(x)
    between = machine.circuits_run
    (1 + solution.value).square().sum().backward()
    return solution, between - before, machine.circuits_run - between


def of_jacobian(encoding: str) -> int:
    """C_J by the formula."""
    return 2 * N if encoding == "amplitude" else 2 * D
