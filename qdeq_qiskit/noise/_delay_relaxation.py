"""Aer's pass that lets qubits relax during delays, exact also for T2 above T1. Importing it needs Aer."""

from __future__ import annotations

from collections.abc import Sequence

from qiskit.circuit import Delay
from qiskit.quantum_info import Kraus
from qiskit.utils import apply_prefix
from qiskit_aer.noise import QuantumError, RelaxationNoisePass

from qdeq_qiskit.noise import channels


class DelayRelaxation(RelaxationNoisePass):
    """Relaxation towards |0⟩ during delays.

    Aer's own error for T2 > T1 goes through a conversion that is exact to 1e-8 only.
    """

    def __init__(self, t1s: Sequence[float], t2s: Sequence[float], dt: float | None) -> None:
        super().__init__(list(t1s), list(t2s), dt=dt, op_types=Delay)

    def _thermal_relaxation_error(self, op: Delay, qubits: Sequence[int]) -> QuantumError:
        if op.unit == "dt" and self._dt is None:
            raise ValueError(f"the delay of {op.duration} dt on wire {qubits[0]}: how long dt is, is not known")
        duration = op.duration * self._dt if op.unit == "dt" else apply_prefix(op.duration, op.unit)
        superop = channels.relaxation(self._t1s[qubits[0]], self._t2s[qubits[0]], duration)
        return QuantumError(Kraus(channels.kraus_operators(superop)))
