r"""The angle-encoded map state by state: :math:`q_k = ⟨φ|O_k|φ⟩` with :math:`φ = W \bigotimes_w s_w`.

Nothing of the size of an operator on all wires is built: W is applied by its factors on few wires. The derivatives of
one sample take one application of W and K of W†,

.. math:: \partial q_k = 2 \sum_w \operatorname{Re} ⟨χ_k | \cdots ⊗ \partial s_w ⊗ \cdots⟩ , \quad χ_k = W^† O_k φ ,

each χ_k contracted with the states of all wires but one, by halves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from qdeq_qiskit.backends.engines import Engine
from qdeq_qiskit.backends.evolution import complex_dtype
from qdeq_qiskit.backends.feature_angles import FeatureAngles
from qdeq_qiskit.backends.maps.product import contract_halves, product_state
from qdeq_qiskit.backends.program import GateProgram, generator
from qdeq_qiskit.backends.readout import Readout

MOST_AMPLITUDES = 2**18
"""Amplitudes of the samples evaluated at once, all χ_k together: 2 or 4 MB, which caches hold; with 2²⁰ it takes twice
as long. One sample is the least."""

MOST_RECORDED = 2**23
"""Amplitudes of a batch, all χ_k together, that autograd may record: 64 or 128 bytes each with seven factors, so half a
gigabyte or one."""


class WireStates:
    """The states of all wires that an encoder of gates on single wires prepares, and their derivatives.

    The l-th rotations of all wires are done at once; a wire with fewer is padded with identities. The batch is the
    last axis of everything.

    Args:
        program: gates on single wires; the angle map's parameters are the features (and the weights, unused).
        num_features: d.
        device: where the tensors live.
        dtype: real dtype.
    """

    def __init__(self, program: GateProgram, num_features: int, *, device: torch.device, dtype: torch.dtype) -> None:
        self._angles = FeatureAngles(program.angle_map, num_features)
        layers = _layers(program)
        depth, wires = len(layers), program.num_qubits
        terms = torch.zeros(depth, wires, 2, 2, 2, dtype=torch.complex128)  # of cos φ/2 and sin φ/2
        turns = torch.zeros(depth, wires, 2, 2, dtype=torch.complex128)  # −iH/2, by which ∂/∂φ multiplies
        read = torch.zeros(depth, wires, dtype=torch.long)  # the zeroth angle is 0
        for level, layer in enumerate(layers):
            for wire, (name, slot, before) in enumerate(layer):
                terms[level, wire, 0] = torch.as_tensor(before)
                if name is not None and slot is not None:
                    terms[level, wire, 1] = torch.as_tensor(-1j * generator(name) @ before)
                    turns[level, wire] = torch.as_tensor(-0.5j * generator(name))
                    read[level, wire] = slot + 1
        self._terms = terms.to(device, complex_dtype(dtype))
        self._turns = turns.to(device, complex_dtype(dtype))
        self._read = read.to(device)

    def states(self, v: Tensor) -> Tensor:
        """s, (n, 2, B), of features, (B, d)."""
        return self._evolved(v, None)[0]

    def states_and_turns(self, v: Tensor, lift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """s and s⊥, (n, 2, B), and c for v = R w + x, (n, m, B), complex: ∂s/∂w = c s⊥, but for the phase of s."""
        gates = self._gates(v)
        behind = [gates[0, :, :, 0]]  # from |0⟩
        for gate in gates[1:]:
            behind.append((gate * behind[-1].unsqueeze(1)).sum(2))
        states = behind[-1]
        across = torch.stack((-states[:, 1].conj(), states[:, 0].conj()), dim=1)
        onto = across.conj()  # ⟨s⊥| carried back through the gates
        turned = []
        for level in range(len(gates) - 1, -1, -1):
            turned.append((onto * (self._turns[level] @ behind[level])).sum(1))
            onto = (onto.unsqueeze(2) * gates[level]).sum(1)
        per_angle = torch.stack(turned[::-1]).unsqueeze(2)  # (depth, n, 1, B)
        return states, across, (per_angle * self._turning(v, lift).squeeze(2)).sum(0)

    def states_and_tangents(self, v: Tensor, lift: Tensor) -> tuple[Tensor, Tensor]:
        """s, (n, 2, B), and ∂s/∂w for v = R w + x, (n, 2, m, B)."""
        states, tangents = self._evolved(v, lift)
        assert tangents is not None
        return states, tangents

    def _evolved(self, v: Tensor, lift: Tensor | None) -> tuple[Tensor, Tensor | None]:
        gates = self._gates(v)
        states = gates[0, :, :, 0]  # from |0⟩
        tangents = None
        if lift is not None:
            turning = self._turning(v, lift)
            tangents = (self._turns[0] @ states).unsqueeze(2) * turning[0]
        for level in range(1, len(gates)):
            states = (gates[level] * states.unsqueeze(1)).sum(2)
            if tangents is not None:
                tangents = (gates[level].unsqueeze(3) * tangents.unsqueeze(1)).sum(2)
                tangents = tangents + (self._turns[level] @ states).unsqueeze(2) * turning[level]
        return states, tangents

    def _gates(self, v: Tensor) -> Tensor:
        """(depth, n, 2, 2, B)."""
        angles = torch.cat((v.new_zeros(1, len(v)), self._angles(v).T))
        half = angles.index_select(0, self._read.flatten()).view(*self._read.shape, 1, 1, -1) / 2
        first, second = self._terms.unsqueeze(-1).unbind(2)
        return half.cos() * first + half.sin() * second

    def _turning(self, v: Tensor, lift: Tensor) -> Tensor:
        """∂φ/∂w of every gate's angle, (depth, n, 1, m, B), or (depth, n, 1, m, 1) if constant."""
        directions = self._angles.along(v, lift)
        rest = directions.new_zeros(1, *directions.shape[1:])
        turning = torch.cat((rest, directions)).index_select(0, self._read.flatten())
        return turning.unflatten(0, self._read.shape).unsqueeze(2)


@dataclass(frozen=True, eq=False)
class EncodedBlock:
    """q(v) and ∂q/∂w given the factors of W, without operators, the batch in parts of few amplitudes.

    Attributes:
        encoder: the states of the last m wires; the others are at |0⟩.
        engine: applies W.
        readout: the observables.
    """

    encoder: WireStates
    engine: Engine
    readout: Readout

    def value(self, v: Tensor, factors: Tensor) -> Tensor:
        """q, (B, K), of features, (B, d)."""
        return self._in_parts(v, factors, 1, lambda some, given: (self._value(some, given),))[0]

    def value_and_jacobian(self, v: Tensor, factors: Tensor, lift: Tensor) -> tuple[Tensor, Tensor]:
        """q, (B, K), and ∂q/∂w, (B, K, m), for v = R w + x, (B, d)."""
        outputs = self.readout.num_outputs
        found = self._in_parts(v, factors, outputs, lambda some, given: self._value_and_jacobian(some, given, lift))
        return found[0], found[1]

    def _value(self, v: Tensor, factors: Tensor) -> Tensor:
        return self.readout.expectations(self._final(self.encoder.states(v), factors).T)

    def _value_and_jacobian(self, v: Tensor, factors: Tensor, lift: Tensor) -> tuple[Tensor, Tensor]:
        states, tangents = self.encoder.states_and_tangents(v, lift)
        final = self._final(states, factors)
        applied = self.readout.applied(final).transpose(0, 1).contiguous()
        chi = self.engine.apply_adjoint(factors, applied)[: 2 ** len(states)].transpose(0, 1)  # (K, 2ᵐ, B)
        slopes = contract_halves(chi, states.conj().resolve_conj())  # (K, n, 2, B), conjugate
        jacobian = 2 * _real_products(slopes.unsqueeze(3), tangents).sum((1, 2))
        return self.readout.expectations(final.T), jacobian.permute(2, 0, 1)

    def _final(self, states: Tensor, factors: Tensor) -> Tensor:
        """φ, (2ⁿ, B)."""
        encoded = product_state(states)
        size = 2**self.engine.program.num_qubits
        if len(encoded) < size:
            encoded = torch.nn.functional.pad(encoded, (0, 0, 0, size - len(encoded)))
        return self.engine.apply(factors, encoded)

    def _in_parts(
        self, v: Tensor, factors: Tensor, states: int, function: Callable[[Tensor, Tensor], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """function(v, factors), the batch in parts of few amplitudes, with so many states a sample."""
        amplitudes = states * 2**self.engine.program.num_qubits
        return in_parts(
            function, v, factors, most=MOST_AMPLITUDES // amplitudes, most_recorded=MOST_RECORDED // amplitudes
        )


def in_parts(
    function: Callable[[Tensor, Tensor], tuple[Tensor, ...]], v: Tensor, block: Tensor, *, most: int, most_recorded: int
) -> tuple[Tensor, ...]:
    """function(v, block), the batch in parts of at most so many samples, but one at the least.

    A backward pass through more than `most_recorded` samples evaluates part by part again, so that it holds but one.
    """
    parts = v.split(max(1, most))
    if len(parts) == 1:
        return function(v, block)
    if torch.is_grad_enabled() and len(v) > most_recorded:
        found = [checkpoint(function, part, block, use_reentrant=False) for part in parts]
    else:
        found = [function(part, block) for part in parts]
    return tuple(torch.cat(outputs) for outputs in zip(*found, strict=True))


def _real_products(left: Tensor, right: Tensor) -> Tensor:
    """Re(conj(left) · right)."""
    return (torch.view_as_real(left) * torch.view_as_real(right)).sum(-1)


_Layer = list[tuple[str | None, int | None, np.ndarray]]
"""For each wire: a rotation and its slot, None for none, and the fixed unitary, (2, 2), before it."""


def _layers(program: GateProgram) -> list[_Layer]:
    per_wire: list[_Layer] = [[] for _ in range(program.num_qubits)]
    pending = [np.eye(2, dtype=complex) for _ in range(program.num_qubits)]
    for operation in program.operations:
        (wire,) = operation.wires
        if operation.slot is None:
            pending[wire] = operation.matrix @ pending[wire]
        else:
            per_wire[wire].append((operation.name, operation.slot, pending[wire]))
            pending[wire] = np.eye(2, dtype=complex)
    for wire, layers in enumerate(per_wire):
        if not np.array_equal(pending[wire], np.eye(2)) or not layers:
            layers.append((None, None, pending[wire]))
    depth = max(len(layers) for layers in per_wire)
    nothing = (None, None, np.eye(2, dtype=complex))
    for layers in per_wire:
        layers.extend([nothing] * (depth - len(layers)))
    return [[layers[level] for layers in per_wire] for level in range(depth)]
