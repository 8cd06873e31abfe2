r"""W applied to batches of states by Aer: all states of a batch in one run, counted by ancillas, without W itself.

A batch of B states is one state on n + ⌈log₂ B⌉ qubits, :math:`\sum_b |b⟩ |s_b⟩` but for its norm, and W acts on the n
alone. The derivative by the weights is the one of the engine: back through the circuit, with the cotangents beside the
states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.engines.aer_circuits import BoundCircuit, adjoint_circuit, forward_circuit
from qdeq_qiskit.backends.evolution import evolve
from qdeq_qiskit.backends.program import GateProgram

Run = Callable[[Any, BoundCircuit, np.ndarray], Any]


class AerStates:
    """Sends states through W and back.

    Args:
        program: W.
        run: (circuit, bound circuit, values (S, A)) → what S simulations save.
    """

    def __init__(self, program: GateProgram, run: Run) -> None:
        self.program = program
        self._run = run
        self._circuits: dict[tuple[str, int], BoundCircuit] = {}

    def forward(self, angles: Tensor, states: Tensor) -> Tensor:
        """W applied to states, (2ⁿ, B)."""
        return self._through("forward", angles, states)

    def back(self, angles: Tensor, states: Tensor) -> Tensor:
        """W† applied to states, (2ⁿ, B)."""
        return self._through("back", angles, states)

    def pullback(self, angles: Tensor, evolved: Tensor, cotangent: Tensor) -> tuple[Tensor, Tensor]:
        """∂L/∂φ, (G,), and W†Λ, (2ⁿ, B), from evolved states and their cotangents Λ, (2ⁿ, B) each."""
        ket, bra = self._row(evolved), self._row(cotangent)
        norms = np.linalg.norm(ket), np.linalg.norm(bra)
        product = float(norms[0] * norms[1])
        if product == 0 or not np.isfinite(product):
            return torch.full_like(angles, 0 * product), self.back(angles, cotangent)
        both = np.concatenate((ket / norms[0], bra / norms[1])) / np.sqrt(2)
        saved = self._saved("adjoint", angles, both, cotangent.shape[1])
        overlaps = np.array([saved[str(slot)] for slot in range(self.program.num_slots)])
        final = np.asarray(saved["statevector"])[len(ket) :] * (np.sqrt(2) * norms[1])
        return torch.as_tensor(-0.5 * product * overlaps).to(angles), self._columns(final, cotangent)

    def _through(self, way: str, angles: Tensor, states: Tensor) -> Tensor:
        # A state that is not finite must not spoil the others of its batch.
        finite = states.isfinite().all(dim=0)
        row = self._row(torch.where(finite, states, 0))
        norm = np.linalg.norm(row)
        if norm == 0:
            moved = torch.zeros_like(states)
        else:
            saved = self._saved(way, angles, row / norm, states.shape[1])
            moved = self._columns(np.asarray(saved["statevector"]) * norm, states)
        return moved.masked_fill(~finite, torch.nan)

    def _saved(self, way: str, angles: Tensor, state: np.ndarray, number: int) -> dict[str, Any]:
        bound = self._circuit(way, (number - 1).bit_length())
        values = bound.values(angles.detach().cpu().numpy().astype(float))[None]
        (saved,) = self._run(bound.from_state(state), bound, values)
        found: dict[str, Any] = saved
        return found

    def _circuit(self, way: str, ancillas: int) -> BoundCircuit:
        if (way, ancillas) not in self._circuits:
            self._circuits[way, ancillas] = (
                forward_circuit(self.program, ancillas)
                if way == "forward"
                else adjoint_circuit(self.program, ancillas, overlaps=way == "adjoint", whole=True)
            )
        return self._circuits[way, ancillas]

    def _row(self, states: Tensor) -> np.ndarray:
        """The states one after another, and zeros up to a power of two of them, (2^(n + m),)."""
        size, number = states.shape
        row = np.zeros((1 << (number - 1).bit_length(), size), dtype=complex)
        row[:number] = states.detach().cpu().numpy().T
        return row.ravel()

    def _columns(self, row: np.ndarray, like: Tensor) -> Tensor:
        """The inverse of `_row`."""
        return torch.as_tensor(row.reshape(-1, len(like))[: like.shape[1]].T).to(like)


class Applied(torch.autograd.Function):
    """W, or W†, applied to states, (2ⁿ, B); first derivatives by Aer, further ones through gate-by-gate evolution."""

    @staticmethod
    def forward(ctx: Any, angles: Tensor, states: Tensor, aer: AerStates, adjoint: bool) -> Tensor:
        found = (aer.back if adjoint else aer.forward)(angles, states)
        ctx.aer, ctx.adjoint = aer, adjoint
        ctx.save_for_backward(angles, states, found)
        return found

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, ...]:
        angles, states, found = ctx.saved_tensors
        (cotangent,) = cotangents
        if torch.is_grad_enabled():
            again = _evolved(ctx.aer.program, angles, states, adjoint=ctx.adjoint)
            inputs = [each for each in (angles, states) if each.requires_grad]
            gradients = iter(torch.autograd.grad(again, inputs, cotangent, create_graph=True))
            by_angles, by_states = (next(gradients) if each.requires_grad else None for each in (angles, states))
            return by_angles, by_states, None, None
        if not ctx.adjoint:
            return *ctx.aer.pullback(angles, found, cotangent), None, None
        # Re⟨C, W†s⟩ = Re⟨s, W C⟩: the cotangent is the state, and the states are what it is compared with.
        evolved = ctx.aer.forward(angles, cotangent)
        return ctx.aer.pullback(angles, evolved, states)[0], evolved, None, None


def _evolved(program: GateProgram, angles: Tensor, states: Tensor, *, adjoint: bool) -> Tensor:
    if not adjoint:
        return evolve(program, angles, states.T).T
    operations = tuple(
        operation if operation.matrix is None else replace(operation, matrix=operation.matrix.conj().T)
        for operation in reversed(program.operations)
    )
    return evolve(replace(program, operations=operations), -angles, states.T).T
