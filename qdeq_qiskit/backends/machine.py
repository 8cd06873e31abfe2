r"""A compiled circuit on an estimator: values and derivatives for rows of gate angles, each in one PUB.

All observables go into the PUB as an array of shape (K, 1), so that commuting ones are measured together. Derivatives
are differences at finite shifts, exact but for shot noise, with noise in the gates as without:

- an angle φ of a rotation (generator eigenvalues ±1): ∂f/∂φ = ½ [f(φ + π/2) − f(φ − π/2)];
- of a controlled rotation (eigenvalues −1, 0, 1): four shifts, by ±π/2 with weight (√2 + 1)/(4√2) and by ±3π/2 with
  weight −(√2 − 1)/(4√2) (Anselmetti et al., arXiv 2104.05695).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from qiskit.primitives import BackendEstimatorV2, BaseEstimatorV2
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import PassManager
from torch import Tensor

from qdeq_qiskit.backends.program import GateProgram
from qdeq_qiskit.backends.slot_circuit import slot_circuit

_SQRT2 = math.sqrt(2)
# (shift, weight) of the rules above.
_ROTATION = ((math.pi / 2, 0.5), (-math.pi / 2, -0.5))
_CONTROLLED_ROTATION = (
    (math.pi / 2, (_SQRT2 + 1) / (4 * _SQRT2)),
    (-math.pi / 2, -(_SQRT2 + 1) / (4 * _SQRT2)),
    (3 * math.pi / 2, -(_SQRT2 - 1) / (4 * _SQRT2)),
    (-3 * math.pi / 2, (_SQRT2 - 1) / (4 * _SQRT2)),
)


class Machine:
    """A compiled circuit with its observables, and the estimator that runs it.

    Args:
        program: the circuit; every slot becomes a parameter of its own.
        observables: K of them, on the program's wires.
        estimator: evaluates the circuit.
        shots: of each circuit; None for an estimator that is exact.
        pass_manager: compiles the circuit; its layout is applied to the observables.
        seed: of the shots, for a `BackendEstimatorV2`.

    Attributes:
        circuit: what runs.
        rules: for each slot the (shift, weight) pairs of its derivative.
        rows_run: how many rows of angles were run so far.
    """

    def __init__(
        self,
        program: GateProgram,
        observables: Sequence[SparsePauliOp],
        estimator: BaseEstimatorV2,
        shots: int | None,
        pass_manager: PassManager | None,
        seed: int | None,
    ) -> None:
        self.rules = [_CONTROLLED_ROTATION if slot.num_shifts == 4 else _ROTATION for slot in program.slots]
        circuit = slot_circuit(program)
        if pass_manager is not None:
            circuit = pass_manager.run(circuit)
            observables = [observable.apply_layout(circuit.layout) for observable in observables]
        self.circuit = circuit
        self.rows_run = 0
        self._observables = [[observable] for observable in observables]
        self._slots = [parameter.index for parameter in circuit.parameters]
        self._estimator = estimator
        # BackendEstimatorV2 takes ⌈1/precision²⌉ shots.
        self._precision = 0.0 if shots is None else 1 / math.sqrt(shots - 0.5)
        self._seeds = None if seed is None else np.random.SeedSequence(seed)

    def run(self, angles: Tensor) -> Tensor:
        """Expectation values, (N, K), for rows of angles, (N, G), in one PUB; NaN for rows that are not finite."""
        rows = angles.cpu().numpy()
        finite = np.isfinite(rows).all(axis=1)
        values = np.full((len(rows), len(self._observables)), np.nan)
        if finite.any():
            self._reseed()
            pub = (self.circuit, self._observables, rows[np.ix_(finite, self._slots)])
            evs = self._estimator.run([pub], precision=self._precision).result()[0].data.evs
            if not np.isfinite(evs).all():
                raise RuntimeError(f"{type(self._estimator).__name__} returned expectation values that are not finite")
            values[finite] = evs.T
            self.rows_run += int(finite.sum())
        return torch.as_tensor(values)

    def run_shifted(self, angles: Tensor, slots: list[int]) -> tuple[Tensor, Tensor]:
        """Values, (B, K), and derivatives with respect to some slots' angles, (B, K, S), in one PUB."""
        shifts = [(column, slot, *term) for column, slot in enumerate(slots) for term in self.rules[slot]]
        moves = torch.zeros(len(shifts) + 1, angles.shape[1], dtype=angles.dtype)
        weights = torch.zeros(len(shifts), len(slots), dtype=angles.dtype)
        for row, (column, slot, shift, weight) in enumerate(shifts):
            moves[row + 1, slot] = shift
            weights[row, column] = weight
        values = self.run((angles.unsqueeze(1) + moves).flatten(0, 1)).unflatten(0, (len(angles), len(moves)))
        return values[:, 0], torch.einsum("brk,rs->bks", values[:, 1:], weights)

    def _reseed(self) -> None:
        """A new seed for each run: with one seed, every run would repeat the same noise."""
        if self._seeds is not None and isinstance(self._estimator, BackendEstimatorV2):
            (child,) = self._seeds.spawn(1)
            self._estimator.options.seed_simulator = int(child.generate_state(1)[0]) >> 1
