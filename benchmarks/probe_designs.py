"""Designs side by side: variances and biases, exactly, for a processor's calibration.

`python -m benchmarks.probe_designs fake_torino` prints the table of docs/how-to/surrogate.md.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.compiled import compile_circuit
from qdeq_qiskit.backends.noisy import EffectiveMachine, NoisyCircuit
from qdeq_qiskit.backends.noisy.pauli_transfer import Matrix, pauli_strings
from qdeq_qiskit.backends.surrogate.designs import DESIGNS
from qdeq_qiskit.backends.surrogate.dual_frame import DualFrame
from qdeq_qiskit.backends.surrogate.measured import MeasuredOperators, measure_operators
from qdeq_qiskit.backends.surrogate.plan import ProbePlan, plan_probes
from qdeq_qiskit.circuits import QNNCircuit, amplitude_encoder, qdeq_ansatz, z_readout
from qdeq_qiskit.noise import Snapshot

_WIRES = 4
_SAMPLES = 4000
_SHOTS = 4096


def comparison(processor: str) -> Iterator[str]:
    """The rows of a Markdown table for the 4-qubit model on a processor's calibrated copy."""
    encoder, ansatz = amplitude_encoder(_WIRES), qdeq_ansatz(_WIRES)
    qnn = QNNCircuit.compose(encoder, ansatz, z_readout(_WIRES), num_amplitudes=2**_WIRES)
    snapshot = Snapshot.fake(processor)
    compiled = compile_circuit(qnn, target=snapshot.target)
    v = torch.randn(_SAMPLES, 2**_WIRES, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    columns = ("design", "P", "Σc² mean", "Σc² worst", "P·Σc²", "left over", "off by its size", "found", "σ")
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    ideal = []
    for name in DESIGNS:
        plan = plan_probes(qnn, compiled, snapshot.noise, design=name)
        found = float(_measured(plan).correction.max())
        yield _row(f"{name}, {processor}", plan.frame, v, (plan.bias_bound, plan.miscalibration_bound, found))
        ideal.append((name, plan.uncorrected))
    ideal.append(
        ("pairs (e_i ± e_j)/√2", DualFrame.of(_coordinates(_pairs((1, -1))), np.eye(2**_WIRES, dtype=complex)))
    )
    ideal.append(("pairs (e_i + e_j)/√2", DualFrame.of(_coordinates(_pairs((1,))), np.eye(2**_WIRES, dtype=complex))))
    for name, frame in ideal:
        yield _row(f"{name}, ideal", frame, v, ())


def _measured(plan: ProbePlan) -> MeasuredOperators:
    """Without shots, at random weights."""
    weight = torch.empty(plan.qnn.num_weights, dtype=torch.float64)
    weight.uniform_(-torch.pi, torch.pi, generator=torch.Generator().manual_seed(0))
    return measure_operators(
        plan,
        weight,
        lambda probe: EffectiveMachine(NoisyCircuit(probe.qnn, probe.compiled, plan.noise), shots=None),
    )


def _row(name: str, frame: DualFrame, v: Tensor, biases: tuple[float, ...]) -> str:
    mean, count = float(frame.variance(v).mean()), len(frame.states)
    cells = [f"{count}", f"{mean:.3f}", f"{frame.worst_variance():.3f}", f"{count * mean:.0f}"]
    cells += [f"{bias:.4f}" for bias in biases] or ["–"] * 3
    return f"| {name} | {' | '.join(cells)} | {(mean / _SHOTS) ** 0.5:.4f} |"


def _pairs(signs: tuple[int, ...]) -> Matrix:
    """Basis states, and sums of two of them with these signs, (P, d)."""
    unit = np.eye(2**_WIRES)
    sums = [(unit[i] + sign * unit[j]) / np.sqrt(2) for j in range(len(unit)) for i in range(j) for sign in signs]
    return np.concatenate((unit, sums))


def _coordinates(kets: Matrix) -> Matrix:
    strings = pauli_strings(_WIRES)
    found: Matrix = np.einsum("ni,pij,nj->np", kets, strings, kets, optimize=True).real
    return found


if __name__ == "__main__":
    for line in comparison(sys.argv[1] if len(sys.argv) > 1 else "fake_torino"):
        print(line)
