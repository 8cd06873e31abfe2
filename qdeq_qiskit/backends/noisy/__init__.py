"""Circuits with noise: exact expectation values and shots, by the effective route or on Aer.

The effective route keeps one operator for each observable (or outcome) of a noisy weight block and the noisy encoder's
state for each sample, all in real Pauli coordinates. Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeq_qiskit.first_use import on_first_use

if TYPE_CHECKING:
    from qdeq_qiskit.backends.noisy.aer_machine import AerMachine
    from qdeq_qiskit.backends.noisy.effective_machine import EffectiveMachine
    from qdeq_qiskit.backends.noisy.estimator import NoisyEstimator, NoisyGradient
    from qdeq_qiskit.backends.noisy.layer import NoisyLayer
    from qdeq_qiskit.backends.noisy.noisy_circuit import NoisyCircuit, NotEffectiveError, check_outcomes

_HOME = {
    "AerMachine": "aer_machine",
    "EffectiveMachine": "effective_machine",
    "NoisyCircuit": "noisy_circuit",
    "NoisyEstimator": "estimator",
    "NoisyGradient": "estimator",
    "NoisyLayer": "layer",
    "NotEffectiveError": "noisy_circuit",
    "check_outcomes": "noisy_circuit",
}

__all__ = [
    "AerMachine",
    "EffectiveMachine",
    "NoisyCircuit",
    "NoisyEstimator",
    "NoisyGradient",
    "NoisyLayer",
    "NotEffectiveError",
    "check_outcomes",
]

__getattr__, __dir__ = on_first_use(__name__, _HOME)
