"""Machines that measure one circuit for each group of commuting observables, all of a group from the same shots."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.compiled import CompiledCircuit
from qdeq_qiskit.backends.machine import Machine, shift_rules
from qdeq_qiskit.backends.measurement import Measurement
from qdeq_qiskit.backends.noisy.measured_groups import MeasuredObservables
from qdeq_qiskit.backends.noisy.pauli_transfer import Matrix


class GroupedMachine(Machine):
    """A compiled circuit with its observables in groups; a subclass says how outcomes are distributed and drawn.

    Args:
        compiled: the circuit.
        observables: its observables, in groups.
        shots: of each circuit; None for exact expectation values.
        seed: of the shots; None for a new one.
    """

    def __init__(
        self, compiled: CompiledCircuit, observables: MeasuredObservables, *, shots: int | None, seed: int | None
    ) -> None:
        if shots is not None and shots < 1:
            raise ValueError(
                f"shots = {shots}: a circuit needs at least one shot, or null for exact expectation values"
            )
        self.compiled = compiled
        self.observables = observables
        self.circuit = compiled.circuit
        self.rules = shift_rules(compiled.source)
        self.shots = shots
        self.circuits_per_row = len(observables.groups)
        self.rows_run = self.shots_run = 0
        self._generator = np.random.default_rng(seed)

    @abstractmethod
    def probabilities(self, angles: Tensor) -> list[Matrix]:
        """For each group the probabilities of its outcomes, (N, 2^S), for the source's angles, (N, G)."""

    @abstractmethod
    def counts(self, angles: Tensor, shots: int) -> list[Matrix]:
        """For each group how often its outcomes were drawn, (N, 2^S)."""

    def run(self, angles: Tensor, *, shots: int | None = None) -> Measurement:
        angles = angles.detach().double().cpu()
        finite = angles.isfinite().all(dim=1)
        rows = angles[finite]
        taken = None if self.shots is None else shots or self.shots
        outputs = len(self.observables.constants)
        values = np.full((len(angles), outputs), np.nan)
        covariance = np.full((len(angles), outputs, outputs), np.nan)
        if len(rows):
            found, spread = self._measured(rows, taken)
            values[finite.numpy()], covariance[finite.numpy()] = found, spread
            self.rows_run += len(rows)
            self.shots_run += len(rows) * self.circuits_per_row * (taken or 0)
        return Measurement(torch.as_tensor(values), torch.as_tensor(covariance))

    def _measured(self, rows: Tensor, shots: int | None) -> tuple[Matrix, Matrix]:
        """Values, (N, K), and their covariance, (N, K, K)."""
        outputs = len(self.observables.constants)
        values = np.tile(self.observables.constants, (len(rows), 1))
        covariance = np.zeros((len(rows), outputs, outputs))
        groups = self.observables.groups
        tables = self.probabilities(rows) if shots is None else self.counts(rows, shots)
        for group, table in zip(groups, tables, strict=True):
            outcomes = group.weights @ group.signs  # what an outcome counts for each observable, (K, 2^S)
            shares = table if shots is None else table / shots
            mean = shares @ outcomes.T
            values += mean
            if shots is not None:
                covariance += _covariance(shares, outcomes, mean, shots)
        return values, covariance

    def _drawn(self, probabilities: list[Matrix], shots: int) -> list[Matrix]:
        """Counts of outcomes with these probabilities, from the machine's own random numbers."""
        clean = [np.clip(table, 0.0, None) for table in probabilities]
        return [
            self._generator.multinomial(shots, table / table.sum(axis=1, keepdims=True)).astype(float)
            for table in clean
        ]


def _covariance(shares: Matrix, outcomes: Matrix, mean: Matrix, shots: int) -> Matrix:
    """Of the mean over shots, estimated without bias; for a single shot, which shows no spread, the largest one."""
    if shots == 1:
        return np.broadcast_to(np.diag(np.square(outcomes).max(axis=1)), (len(shares), *(2 * (len(outcomes),)))).copy()
    second = np.einsum("nm,km,lm->nkl", shares, outcomes, outcomes, optimize=True)
    return (second - mean[:, :, None] * mean[:, None, :]) / (shots - 1)
