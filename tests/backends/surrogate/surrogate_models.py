"""Models, processors and machines for the tests of the surrogate."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from qdeq_qiskit.backends.compiled import CompiledCircuit, compile_circuit
from qdeq_qiskit.backends.noisy import EffectiveMachine, NoisyCircuit, NoisyLayer
from qdeq_qiskit.backends.surrogate import MeasuredOperators, ProbePlan, measure_operators, plan_probes
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, random_layer, z_readout
from qdeq_qiskit.noise import Snapshot

PROCESSORS = ("fake_torino", "fake_fez", "fake_manila")


def amplitude_model(num_qubits: int = 4, num_amplitudes: int | None = None, gates: int = 12) -> QNNCircuit:
    d = 2**num_qubits if num_amplitudes is None else num_amplitudes
    return QNNCircuit.compose(
        amplitude_encoder(num_qubits, d), random_layer(num_qubits, gates, 0), z_readout(num_qubits), num_amplitudes=d
    )


def weights(qnn: QNNCircuit) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.empty(qnn.num_weights, dtype=torch.float64).uniform_(-torch.pi, torch.pi, generator=generator)


def features(qnn: QNNCircuit, rows: int = 20, seed: int = 2) -> Tensor:
    """As pictures are: mostly of one sign."""
    generator = torch.Generator().manual_seed(seed)
    return 2.4 * torch.rand(rows, qnn.num_features, generator=generator, dtype=torch.float64) - 0.4


@cache
def compiled_for(processor: str) -> tuple[QNNCircuit, CompiledCircuit]:
    qnn = amplitude_model()
    return qnn, compile_circuit(qnn, target=Snapshot.fake(processor).target)


@cache
def plan_for(processor: str, design: str = "tetrahedral") -> ProbePlan:
    qnn, compiled = compiled_for(processor)
    return plan_probes(qnn, compiled, Snapshot.fake(processor).noise, design=design)


def measured_on(processor: str, *, design: str = "tetrahedral", shots: int | None, seed: int = 0) -> MeasuredOperators:
    """Operators from outcomes that are drawn from exact probabilities."""
    plan = plan_for(processor, design)
    machines = iter(machines_for(processor, design, shots is None))

    def machine(probe):
        chosen = next(machines)
        assert chosen.compiled is probe.compiled
        chosen.restart(seed)
        return chosen

    return measure_operators(plan, weights(plan.qnn), machine, shots=shots)


@cache
def machines_for(processor: str, design: str, exact: bool) -> tuple[EffectiveMachine, ...]:
    plan = plan_for(processor, design)
    return tuple(
        EffectiveMachine(NoisyCircuit(probe.qnn, probe.compiled, plan.noise), shots=None if exact else 1, seed=index)
        for index, probe in enumerate(plan.probes)
    )


def target_layer(processor: str) -> NoisyLayer:
    """The `snapshot` backend's exact layer with `encoder_noise: off`: what the surrogate is to find."""
    qnn, compiled = compiled_for(processor)
    circuit = NoisyCircuit(qnn, compiled, Snapshot.fake(processor).noise(compiled), encoder_noise=False)
    return NoisyLayer(circuit, precision="double", weight=nn.Parameter(weights(qnn)))
