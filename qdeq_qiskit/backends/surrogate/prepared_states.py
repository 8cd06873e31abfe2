"""The states that a processor prepares by its calibration, as real Pauli coordinates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from qdeq_qiskit.backends.noisy.pauli_transfer import Matrix, Step, noisy_steps, on_wires, paired
from qdeq_qiskit.backends.surrogate.probe_circuit import ProbeCircuit
from qdeq_qiskit.noise import CircuitNoise


def prepared_states(probe: ProbeCircuit, wires: tuple[int, ...], noise: CircuitNoise | None) -> Matrix:
    """F_P = Tr(P ρ) of the states before the weight block, (N, 4ᵐ), strings counted as in `pauli_transfer`.

    Args:
        probe: the circuit.
        wires: m wires of it; all others are in |0⟩.
        noise: what goes wrong in the preparation's gates; None for nothing.
    """
    compiled = probe.compiled
    steps = noisy_steps(compiled.prefix, None if noise is None else noise.channel)
    rows = probe.rows(torch.zeros(probe.qnn.num_weights, dtype=torch.float64))
    angles = compiled.angles(rows).numpy()[:, : compiled.prefix.num_slots]
    states = _evolved(steps, angles, compiled.num_qubits)
    table = states.reshape(*(4,) * compiled.num_qubits, -1)
    some = table[tuple(slice(None) if wire in wires else 0 for wire in range(compiled.num_qubits))]
    return np.ascontiguousarray(some.reshape(-1, len(angles)).T)


def _evolved(steps: Sequence[Step], angles: Matrix, num_wires: int) -> Matrix:
    """F, (4ⁿ, N), of the states that the steps make of |0…0⟩ at rows of angles, (N, G)."""
    zero = np.array([1.0, 0.0, 0.0, 1.0])
    start = np.ones(1)
    for _ in range(num_wires):
        start = np.kron(start, zero)
    states = np.repeat(start[:, None], len(angles), axis=1)
    everything = range(num_wires)
    for step in steps:
        for turn in step.turns:
            letters = ["i"] * num_wires
            for wire, letter in zip(step.wires, turn.pauli, strict=True):
                letters[wire] = letter
            _, first, second = paired("".join(letters))
            phi = turn.scale * angles[:, turn.slot]
            one, other = states[first], states[second]
            states[first], states[second] = (
                np.cos(phi) * one - np.sin(phi) * other,
                np.sin(phi) * one + np.cos(phi) * other,
            )
        if step.transfer is not None:
            states = on_wires(step.transfer, step.wires, states, everything)
    return states
