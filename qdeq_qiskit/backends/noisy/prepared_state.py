"""The state that a noisy encoder prepares, for a batch of samples, in Pauli coordinates."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.noisy.pauli_blocks import PauliBlock, state_blocks
from qdeq_qiskit.backends.noisy.pauli_transfer import Matrix, Step

# A state is evolved for so many samples at once that it holds about as many numbers: more do not fit into a cache.
_CHUNK_ELEMENTS = 2**17

# An evaluation that takes longer is announced; states of fewer numbers in all never do.
_SLOW_SECONDS = 1.0
_FAST_ELEMENTS = 2**20

_log = logging.getLogger(__name__)


class PreparedState:
    """F(φ), the coordinates of the states that gates with noise prepare from |0…0⟩; only those that can be reached.

    The batch is the last axis of everything. Differentiable in φ to every order, by autograd.

    Args:
        steps: the gates with their noise.
        num_wires: n.
        device: where tensors live.
        dtype: real dtype.
    """

    def __init__(self, steps: Sequence[Step], num_wires: int, *, device: torch.device, dtype: torch.dtype) -> None:
        self.num_wires = num_wires
        blocks = state_blocks(steps, num_wires)
        outcome, self._wires = _last(blocks, num_wires)
        self._outcome = torch.as_tensor(outcome, dtype=dtype, device=device)
        self._stages = [_Stage(block, index + 1 == len(blocks), device, dtype) for index, block in enumerate(blocks)]
        self._slots = torch.tensor(
            [rotation.slot for block in blocks for rotation in block.rotations], dtype=torch.long, device=device
        )
        self._scales = torch.tensor(
            [rotation.scale for block in blocks for rotation in block.rotations], dtype=dtype, device=device
        )
        self._counts = [len(block.rotations) for block in blocks]
        self._widest = max((4 ** len(self._wires), *(stage.widest for stage in self._stages)))
        self._num_angles = 1 + max((rotation.slot for block in blocks for rotation in block.rotations), default=-1)
        self._seconds: float | None = None  # for one sample, once it was measured
        self._announced = False
        self.size = outcome.shape[1] * 4 ** (len(self._wires) - _log4(outcome.shape[0]))

    def coordinates(self, operators: Tensor) -> Tensor:
        """Operators' coordinates, (K, 4ⁿ), as far as the states see them: (K, S), so that values are T F."""
        wires = self._wires
        idle = [wire for wire in range(self.num_wires) if wire not in wires]
        table = operators.reshape(-1, *(4,) * self.num_wires)
        table = table.permute(0, *(1 + wire for wire in (*wires, *idle)))
        # Wires that no gate touches are in |0⟩, where 1 and Z have the expectation value one.
        table = table.reshape(len(operators), 4 ** len(wires), 4 ** len(idle))
        if idle:
            seen = [
                sum(digit * 4**place for place, digit in enumerate(digits))
                for digits in np.ndindex(*(2,) * len(idle))
                for digits in [tuple(3 * bit for bit in digits)]
            ]
            table = table[:, :, torch.tensor(seen, device=table.device)].sum(2)
        else:
            table = table[:, :, 0]
        size = self._outcome.shape[0]
        return torch.matmul(table.reshape(len(operators), size, -1).mT, self._outcome).mT.reshape(len(operators), -1)

    def announce(self, samples: int, num_directions: int = 0) -> None:
        """Says once, before it starts, that so many states with tangents along so many directions take long."""
        columns = samples * (1 + num_directions)
        if self._announced or columns * self._widest < _FAST_ELEMENTS or self._slots.device.type != "cpu":
            return
        if self._seconds is None:
            few = max(1, min(samples, _CHUNK_ELEMENTS // self._widest))
            angles = torch.zeros(self._num_angles, few, dtype=self._scales.dtype)
            with torch.no_grad():
                self.state(angles)
                start = time.perf_counter()
                self.state(angles)
            self._seconds = (time.perf_counter() - start) / few
        if columns * self._seconds < _SLOW_SECONDS:
            return
        self._announced = True
        derivatives = f" with derivatives along {num_directions} directions" if num_directions else ""
        _log.warning(
            "the encoder entangles %d wires: states of %d samples%s take about %.2g seconds in each of the tens of "
            "evaluations of a solve",
            self.num_wires,
            samples,
            derivatives,
            columns * self._seconds,
        )

    def state(self, angles: Tensor) -> Tensor:
        """F, (S, B), for angles φ, (G, B)."""
        chunk = max(1, _CHUNK_ELEMENTS // self._widest)
        parts = [self._evolved(some, None) for some in angles.split(chunk, dim=1)]
        return (parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1))[:, 0]

    def state_and_tangents(self, angles: Tensor, along: Tensor) -> tuple[Tensor, Tensor]:
        """F, (S, B), and its derivatives, (S, m, B), for derivatives of the angles, (G, m, B) or (G, m, 1)."""
        chunk = max(1, _CHUNK_ELEMENTS // (self._widest * (1 + along.shape[1])))
        along = along.expand(-1, -1, angles.shape[1])
        parts = zip(angles.split(chunk, dim=1), along.split(chunk, dim=2), strict=True)
        both = torch.cat([self._evolved(some, slopes) for some, slopes in parts], dim=-1)
        return both[:, 0], both[:, 1:]

    def _evolved(self, angles: Tensor, along: Tensor | None) -> Tensor:
        """F and its tangents, (S, 1 + m, B)."""
        phi = angles.index_select(0, self._slots) * self._scales.unsqueeze(1)
        cos, sin = phi.cos().split(self._counts), phi.sin().split(self._counts)
        turning = None
        if along is not None:
            turning = (along.index_select(0, self._slots) * self._scales.view(-1, 1, 1)).split(self._counts)
        columns = 1 if along is None else 1 + along.shape[1]
        state = angles.new_zeros(1, 1, columns, angles.shape[1])
        state[:, :, 0] = 1.0
        order: list[int] = []
        for index, stage in enumerate(self._stages):
            state, order = _to_front(state, order, stage.block)
            state = stage.evolve(state, cos[index], sin[index], None if turning is None else turning[index])
        return state.flatten(0, 1)


class _Stage:
    """One block on the device: coordinates of its wires, those of other wires, value and tangents, samples."""

    def __init__(self, block: PauliBlock, last: bool, device: torch.device, dtype: torch.dtype) -> None:
        self.block = block
        # What follows the last rotation of all is left to the operators.
        matrices = block.matrices[:-1] if last else block.matrices
        self._matrices = [torch.as_tensor(matrix, dtype=dtype, device=device) for matrix in matrices]
        self.widest = max((len(matrix) for matrix in matrices), default=1)

    def evolve(self, state: Tensor, cos: Tensor, sin: Tensor, slopes: Tensor | None) -> Tensor:
        """The state after the block, of angles with these cosines and sines, (g, B), and derivatives, (g, m, B)."""
        shape = state.shape[1:]
        signed = torch.stack((-sin, sin), dim=1).view(len(sin), 2, 1, 1, 1, cos.shape[-1])
        if slopes is not None:
            slopes = torch.stack((-slopes, slopes), dim=1).view(len(slopes), 2, 1, 1, *slopes.shape[1:])
        table = state.flatten(1)
        for index, matrix in enumerate(self._matrices):
            table = matrix @ table
            if index == len(self.block.rotations):
                break
            rotation = self.block.rotations[index]
            moving = table[rotation.stay :].view(2, rotation.pairs, *shape)  # a and b
            moving = torch.addcmul(moving * cos[index], moving.flip(0), signed[index])
            if slopes is not None:
                # ∂a' = … − b' ∂φ and ∂b' = … + a' ∂φ; the first column is the value.
                value, tangents = moving[..., :1, :], moving[..., 1:, :]
                moving = torch.cat((value, torch.addcmul(tangents, value.flip(0), slopes[index])), dim=-2)
            table = torch.cat((table[: rotation.stay], moving.view(2 * rotation.pairs, table.shape[1])))
        return table.unflatten(1, shape)


def _last(blocks: list[PauliBlock], num_wires: int) -> tuple[Matrix, tuple[int, ...]]:
    """What follows the last rotation of the last block, and the order of the wires then."""
    if not blocks:
        return np.ones((1, 1)), ()
    order: list[int] = []
    for block in blocks:
        order = [*block.wires, *sorted(set(order).difference(block.wires))]
    return blocks[-1].matrices[-1], tuple(order)


def _to_front(state: Tensor, order: list[int], block: PauliBlock) -> tuple[Tensor, list[int]]:
    """The state, (4ᵒ, rest, 1 + m, B), with the axes of the block's wires that it has already first."""
    old = block.wires[: len(block.wires) - block.joined]
    rest = sorted(set(order).difference(old))
    wanted = [*old, *rest]
    if wanted != order:
        tensor = state.reshape(*(4,) * len(order), *state.shape[2:])
        state = tensor.permute(*(order.index(wire) for wire in wanted), len(order), len(order) + 1)
    return state.reshape(4 ** len(old), 4 ** len(rest), *state.shape[-2:]), [*block.wires, *rest]


def _log4(size: int) -> int:
    return (size.bit_length() - 1) // 2
