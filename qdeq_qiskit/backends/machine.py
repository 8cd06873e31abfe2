r"""Machines that run circuits: values and derivatives for rows of gate angles.

Derivatives are differences at finite shifts, exact but for shot noise, with noise in the gates as without:

- an angle φ of a rotation (generator eigenvalues ±1): ∂f/∂φ = ½ [f(φ + π/2) − f(φ − π/2)];
- of a controlled rotation (eigenvalues −1, 0, 1): four shifts, by ±π/2 with weight (√2 + 1)/(4√2) and by ±3π/2 with
  weight −(√2 − 1)/(4√2) (Anselmetti et al., arXiv 2104.05695).

They are rules for the gates of the circuit as it was written (the *source* program), and stay right however it is
compiled: a compiler puts each of these angles into its own ones affinely.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from qiskit import QuantumCircuit
from qiskit.primitives import BackendEstimatorV2, BaseEstimatorV2
from qiskit.transpiler import PassManager
from torch import Tensor

from qdeq_qiskit.backends.measurement import Measurement, ShiftedMeasurement
from qdeq_qiskit.backends.program import GateProgram, program_of
from qdeq_qiskit.backends.readout import Readout
from qdeq_qiskit.backends.slot_circuit import slot_circuit
from qdeq_qiskit.circuits import QNNCircuit

Rule = tuple[tuple[float, float], ...]
"""The derivative by one angle: pairs (shift, weight)."""

_SQRT2 = math.sqrt(2)
_ROTATION: Rule = ((math.pi / 2, 0.5), (-math.pi / 2, -0.5))
_CONTROLLED_ROTATION: Rule = (
    (math.pi / 2, (_SQRT2 + 1) / (4 * _SQRT2)),
    (-math.pi / 2, -(_SQRT2 + 1) / (4 * _SQRT2)),
    (3 * math.pi / 2, -(_SQRT2 - 1) / (4 * _SQRT2)),
    (-3 * math.pi / 2, (_SQRT2 - 1) / (4 * _SQRT2)),
)


def shift_rules(program: GateProgram) -> list[Rule]:
    """For each slot of a circuit as it was written the rule of its derivative."""
    return [_CONTROLLED_ROTATION if slot.num_shifts == 4 else _ROTATION for slot in program.slots]


class Machine(ABC):
    """A circuit with its observables, ready to run for rows of angles, G of them: one for each of the source's slots.

    A subclass sets all attributes and counts what it runs.

    Attributes:
        circuit: what runs.
        rules: for each slot of the source the rule of its derivative, as `shift_rules` gives them.
        shots: of each circuit, unless a call asks for others; None where values are exact.
        circuits_per_row: circuits for one row of angles: one for each basis that is measured.
        rows_run: how many rows of angles were run so far.
        shots_run: how many shots were spent so far, over all circuits.
        shots_per_call: how many shots of one circuit take as long as a call of `run` takes beside its shots.
    """

    circuit: QuantumCircuit
    rules: list[Rule]
    shots: int | None
    circuits_per_row: int
    rows_run: int
    shots_run: int
    shots_per_call: int = 0
    _generator: np.random.Generator  # of the shots, made of the machine's seed

    @abstractmethod
    def run(self, angles: Tensor, *, shots: int | None = None) -> Measurement:
        """Values for rows of angles, (N, G); NaN for rows that are not finite, which are not run.

        Args:
            angles: of the source's slots.
            shots: of each circuit; None for `Machine.shots`. Of no effect where values are exact.
        """

    def affords(self, calls: Sequence[tuple[int, int | None]]) -> bool:
        """Whether all of these calls of `run`, one after another, can still be paid.

        Args:
            calls: rows and shots of each, shots as in `run`.
        """
        return True

    def restart(self, stream: int) -> None:
        """Draws from here on what the machine's seed and `stream`, at least 0, say, whatever was drawn before."""
        entropy = self._generator.bit_generator.seed_seq.entropy  # type: ignore[attr-defined]
        self._generator = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(stream,)))

    def run_shifted(self, angles: Tensor, slots: list[int], *, shots: int | None = None) -> ShiftedMeasurement:
        """Values and derivatives with respect to some slots' angles, for angles (B, G), in one call of `run`."""
        moves, weights = self._shifts(angles, slots)
        measured = self._moved(angles, torch.cat((moves.new_zeros(1, moves.shape[1]), moves)), shots)
        derivatives = _differences(Measurement(measured.values[:, 1:], measured.covariance[:, 1:]), weights)
        return ShiftedMeasurement(Measurement(measured.values[:, 0], measured.covariance[:, 0]), *derivatives)

    def differentiate(self, angles: Tensor, slots: list[int], *, shots: int | None = None) -> tuple[Tensor, Tensor]:
        """The derivatives alone, (B, K, S), and their covariance, (B, S, K, K), as in `ShiftedMeasurement`."""
        moves, weights = self._shifts(angles, slots)
        return _differences(self._moved(angles, moves, shots), weights)

    def _shifts(self, angles: Tensor, slots: list[int]) -> tuple[Tensor, Tensor]:
        """How the angles are moved, (R, G), and with what weights the values make up derivatives, (R, S)."""
        shifts = [(column, slot, *term) for column, slot in enumerate(slots) for term in self.rules[slot]]
        moves = torch.zeros(len(shifts), angles.shape[1], dtype=angles.dtype)
        weights = torch.zeros(len(shifts), len(slots), dtype=torch.double)
        for row, (column, slot, shift, weight) in enumerate(shifts):
            moves[row, slot] = shift
            weights[row, column] = weight
        return moves, weights

    def _moved(self, angles: Tensor, moves: Tensor, shots: int | None) -> Measurement:
        """Values at all moved angles, (B, R, K), with covariances (B, R, K, K)."""
        measured = self.run((angles.unsqueeze(1) + moves).flatten(0, 1), shots=shots)
        shape = (len(angles), len(moves))
        return Measurement(measured.values.unflatten(0, shape), measured.covariance.unflatten(0, shape))


def _differences(measured: Measurement, weights: Tensor) -> tuple[Tensor, Tensor]:
    return (
        torch.einsum("brk,rs->bks", measured.values, weights),
        torch.einsum("brkl,rs->bskl", measured.covariance, weights.square()),
    )


@final
class EstimatorMachine(Machine):
    """A V2 estimator, with the whole of a call in one PUB.

    All observables go into the PUB as an array of shape (K, 1), so that commuting ones are measured together. An
    estimator gives standard errors alone, so the covariance is diagonal: correlations between observables that are
    read from the same shots are not seen.

    Args:
        qnn: circuit and observables; every occurrence of a parameter in a gate becomes a parameter of its own.
        estimator: evaluates the circuit.
        shots: of each circuit; None for an estimator that is exact.
        pass_manager: compiles the circuit, once; its layout is applied to the observables.
        seed: of the shots, for a `BackendEstimatorV2` on a simulator.
    """

    def __init__(
        self,
        qnn: QNNCircuit,
        estimator: BaseEstimatorV2,
        *,
        shots: int | None,
        pass_manager: PassManager | None = None,
        seed: int | None = None,
    ) -> None:
        program = program_of(qnn.circuit, [*qnn.input_parameters, *qnn.weight_parameters])
        circuit, observables = slot_circuit(program), list(qnn.observables)
        if pass_manager is not None:
            circuit = pass_manager.run(circuit)
            observables = [observable.apply_layout(circuit.layout) for observable in observables]
        self.rules = shift_rules(program)
        self.circuit = circuit
        self.shots = shots
        self.circuits_per_row = Readout(qnn.observables).num_bases
        self.rows_run = self.shots_run = 0
        self._observables = [[observable] for observable in observables]
        self._slots = [parameter.index for parameter in circuit.parameters]
        self._estimator = estimator
        self._generator = np.random.default_rng(seed)
        self._reseeds = seed is not None and isinstance(estimator, BackendEstimatorV2)

    def run(self, angles: Tensor, *, shots: int | None = None) -> Measurement:
        rows = angles.cpu().numpy()
        finite = np.isfinite(rows).all(axis=1)
        values = np.full((len(rows), len(self._observables)), np.nan)
        errors = values.copy()
        if finite.any():
            self._reseed()
            taken = None if self.shots is None else shots or self.shots
            # BackendEstimatorV2 takes ⌈1/precision²⌉ shots.
            precision = 0.0 if taken is None else 1 / math.sqrt(taken - 0.5)
            pub = (self.circuit, self._observables, rows[np.ix_(finite, self._slots)])
            data = self._estimator.run([pub], precision=precision).result()[0].data
            if not np.isfinite(data.evs).all():
                raise RuntimeError(f"{type(self._estimator).__name__} returned expectation values that are not finite")
            values[finite] = data.evs.T
            if taken is not None:
                errors[finite] = self._errors(data.stds.T, taken)
            else:
                errors[finite] = 0.0
            self.rows_run += int(finite.sum())
            self.shots_run += int(finite.sum()) * self.circuits_per_row * (taken or 0)
        return Measurement(torch.as_tensor(values), torch.diag_embed(torch.as_tensor(errors).square()))

    def _errors(self, spread: np.ndarray, shots: int) -> np.ndarray:
        """Standard errors, (N, K), without the bias of a spread about the shots' own mean.

        A single shot shows no spread: then the largest one that there can be.
        """
        if shots > 1:
            return spread * math.sqrt(shots / (shots - 1))
        largest = [np.abs(observable.coeffs).sum() for (observable,) in self._observables]
        return np.broadcast_to(largest, spread.shape)

    def _reseed(self) -> None:
        """A new seed for each run: with one seed, every run would repeat the same noise."""
        if self._reseeds:
            assert isinstance(self._estimator, BackendEstimatorV2)
            self._estimator.options.seed_simulator = int(self._generator.integers(2**31))
