"""Shots by the effective route: joint outcome distributions in closed form, outcomes drawn from them."""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.maps.product import BlochEncoder, product_state
from qdeq_qiskit.backends.noisy.grouped_machine import GroupedMachine
from qdeq_qiskit.backends.noisy.measured_groups import outcome_rows
from qdeq_qiskit.backends.noisy.noisy_circuit import NoisyCircuit
from qdeq_qiskit.backends.noisy.pauli_transfer import Matrix
from qdeq_qiskit.backends.noisy.prepared_state import PreparedState
from qdeq_qiskit.backends.noisy.weight_block import WeightBlock
from qdeq_qiskit.backends.recent import Recent

# States are prepared for so many rows at once that they hold about as many numbers.
_ROW_ELEMENTS = 2**22


@final
class EffectiveMachine(GroupedMachine):
    """A noisy circuit whose outcome probabilities are computed, not simulated shot by shot.

    Rows that share the weight block's angles share its operators, one for each outcome; rows that share the encoder's
    angles share its state. Double precision, on the CPU.

    Args:
        circuit: the compiled circuit with its noise.
        shots: of each circuit; None for exact expectation values.
        seed: of the shots; None for a new one.
    """

    def __init__(self, circuit: NoisyCircuit, *, shots: int | None, seed: int | None = 0) -> None:
        super().__init__(circuit.compiled, circuit.observables, shots=shots, seed=seed)
        device, dtype = torch.device("cpu"), torch.float64
        self._num_prefix = circuit.num_prefix_slots
        self._block = WeightBlock(circuit.block, circuit.num_wires, device=device, dtype=dtype)
        self._state: BlochEncoder | PreparedState
        if circuit.kind == "product":
            self._state = BlochEncoder.of_angles(circuit.encoder, circuit.num_wires, device=device, dtype=dtype)
        else:
            self._state = PreparedState(circuit.encoder, circuit.num_wires, device=device, dtype=dtype)
        rows = [outcome_rows(group, circuit.noise, circuit.num_wires) for group in circuit.observables.groups]
        self._sizes = [len(some) for some in rows]
        self._rows = (
            torch.as_tensor(np.concatenate(rows)) if rows else torch.zeros(0, 4**circuit.num_wires, dtype=dtype)
        )
        self._size = 4**circuit.num_wires
        self._operators: Recent[Tensor] = Recent(4)

    def probabilities(self, angles: Tensor) -> list[Matrix]:
        if not self._sizes:
            return []
        compiled = self.compiled.angles(angles)
        prefix, suffix = compiled[:, : self._num_prefix], compiled[:, self._num_prefix :]
        weights, of_weights = _distinct(suffix)
        found = torch.empty(len(angles), len(self._rows), dtype=torch.float64)
        for index, phi in enumerate(weights):
            chosen = (of_weights == index).nonzero().squeeze(1)
            operators = self._operators.get(phi.numpy().tobytes(), lambda phi=phi: self._pulled(phi))  # type: ignore[misc]
            found[chosen] = self._outcomes(operators, prefix[chosen])
        return [table.numpy() for table in found.split(self._sizes, dim=1)]

    def counts(self, angles: Tensor, shots: int) -> list[Matrix]:
        return self._drawn(self.probabilities(angles), shots)

    def _pulled(self, phi: Tensor) -> Tensor:
        with torch.no_grad():
            return self._block.pull_back(self._rows, phi)

    def _outcomes(self, operators: Tensor, prefix: Tensor) -> Tensor:
        """Probabilities, (N, outcomes), for encoder angles (N, G'); equal ones are prepared once."""
        different, place = _distinct(prefix)
        with torch.no_grad():
            if isinstance(self._state, PreparedState):
                operators = self._state.coordinates(operators)
                self._state.announce(len(different))
            parts = different.split(max(1, _ROW_ELEMENTS // self._size))
            return torch.cat([(operators @ self._prepared(some)).T for some in parts])[place]

    def _prepared(self, prefix: Tensor) -> Tensor:
        """F, (S, N)."""
        if isinstance(self._state, PreparedState):
            return self._state.state(prefix.T)
        return product_state(self._state.bloch(prefix))


def _distinct(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The different rows, (R, G), and which of them each row is, (N,)."""
    if not rows.shape[1]:
        return rows[:1], torch.zeros(len(rows), dtype=torch.long)
    different, place = rows.unique(dim=0, return_inverse=True)
    return different, place
