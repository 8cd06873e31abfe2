r"""The angle-encoded map by operators: a product state, seen through its Bloch vectors.

With :math:`ρ = \bigotimes_w (1 + \vec r_w \cdot \vec σ) / 2` the outputs are multilinear,

.. math:: q_k(v) = \sum_P T_{kP} \prod_w r_{w, P_w}, \quad T_{kP} = 2^{-n} \mathrm{Tr}(M_k P) ,

with :math:`r_w = (1, \vec r_w)`, so values and derivatives are real and in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from qiskit.circuit import ParameterVector
from torch import Tensor

from qdeq_qiskit.backends.feature_angles import FeatureAngles
from qdeq_qiskit.backends.noisy.pauli_transfer import Step, noisy_steps
from qdeq_qiskit.backends.program import PAULIS, AngleMap, GateProgram


class BlochEncoder:
    """Bloch vectors of a product-state encoder, their derivatives along given directions of the features, and with the
    Pauli coefficients T, (K, 4ⁿ), of the effective observables, the outputs q.

    A gate, and noise with it, takes a Bloch vector r to A r + b. The l-th rotations of all wires are done at once; a
    wire with fewer is padded with identities. The batch is the last axis of everything, where the many 3×3 products
    run fastest.

    Args:
        steps: gates on single wires, with their noise.
        num_wires: n.
        angles: the rotations' angles from the features.
        device: where the tensors live.
        dtype: real dtype.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        num_wires: int,
        angles: FeatureAngles,
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self.num_wires = num_wires
        self._angles = angles
        layers = _layers(steps, num_wires)
        terms = torch.zeros(len(layers), num_wires, 3, 3, 4, dtype=torch.float64)  # of 1, cos φ and sin φ
        cross = torch.zeros(len(layers), num_wires, 3, 3, dtype=torch.float64)
        read = torch.zeros(len(layers), num_wires, dtype=torch.long)
        for level, layer in enumerate(layers):
            for wire, (axis, slot, before) in enumerate(layer):
                fixed = torch.as_tensor(np.roll(before[1:], -1, axis=1))  # [A | b]
                if slot is None:
                    terms[level, wire, 0] = fixed
                    continue
                along = torch.outer(torch.as_tensor(axis), torch.as_tensor(axis))
                turn = torch.as_tensor(_cross(axis))
                rotation = torch.stack((along, torch.eye(3, dtype=torch.float64) - along, turn))
                terms[level, wire] = rotation @ fixed
                cross[level, wire] = turn
                read[level, wire] = slot
        self._depth = len(layers)
        # Without noise, and with noise that keeps the mixed state, no b is carried along.
        self._shifts = bool(terms[..., 3].any())
        terms = terms if self._shifts else terms[..., :3]
        self._terms = terms.to(device, dtype).flatten(0, 1).flatten(2).mT.contiguous()  # (depth·n, 9 or 12, 3)
        self._cross = cross.to(device, dtype)
        self._read = read.flatten().to(device)

    @classmethod
    def of(cls, program: GateProgram, num_features: int, *, device: torch.device, dtype: torch.dtype) -> BlochEncoder:
        """The encoder without noise; the angle map's parameters are the features (and the weights, unused)."""
        angles = FeatureAngles(program.angle_map, num_features)
        return cls(noisy_steps(program, None), program.num_qubits, angles, device=device, dtype=dtype)

    @classmethod
    def of_angles(
        cls, steps: Sequence[Step], num_wires: int, *, device: torch.device, dtype: torch.dtype
    ) -> BlochEncoder:
        """The encoder whose features are the rotations' angles themselves."""
        slots = 1 + max((turn.slot for step in steps for turn in step.turns), default=-1)
        parameters = tuple(ParameterVector("c", slots))
        angles = FeatureAngles(AngleMap(parameters, parameters), slots)
        return cls(steps, num_wires, angles, device=device, dtype=dtype)

    def value(self, v: Tensor, coefficients: Tensor) -> Tensor:
        """q, (B, K), of features, (B, d), given T."""
        return contract(coefficients, self.bloch(v))

    def value_and_jacobian(self, v: Tensor, coefficients: Tensor, lift: Tensor) -> tuple[Tensor, Tensor]:
        """q, (B, K), and ∂q/∂w, (B, K, m), for v = R w + x, (B, d), given T."""
        bloch, tangents = self.bloch_and_tangents(v, self.directions(v, lift))
        slopes = slopes_of(coefficients, bloch)
        # Any wire's slope gives the value back, q being linear in it.
        value = (slopes[:, 0] * bloch[0]).sum(1)
        jacobian = (slopes[:, :, 1:].unsqueeze(3) * tangents).sum((1, 2))
        return value.T.contiguous(), jacobian.permute(2, 0, 1)

    def directions(self, v: Tensor, lift: Tensor) -> Tensor:
        """∂φ/∂w for v = R w + x, (G, m, 1) if the angles are affine functions of features, else (G, m, B)."""
        found = self._angles.along(v, lift)
        return found if len(found) else v.new_zeros(1, lift.shape[1], 1)  # padding reads the zeroth

    def bloch(self, v: Tensor) -> Tensor:
        """(1, r) of every wire, (n, 4, B), of features, (B, d)."""
        gates, shifts = self._gates(v)
        vectors = _shifted(gates[0][:, :, 2], shifts, 0)  # |0⟩ points to +z
        for level in range(1, self._depth):
            vectors = _shifted((gates[level] * vectors.unsqueeze(1)).sum(2), shifts, level)
        return _with_one(vectors)

    def bloch_and_tangents(self, v: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """(1, r), (n, 4, B), and ∂r/∂w, (n, 3, m, B), along `directions` from the method of that name."""
        gates, shifts = self._gates(v)
        turning = directions.index_select(0, self._read).unflatten(0, (self._depth, self.num_wires)).unsqueeze(2)
        vectors = _shifted(gates[0][:, :, 2], shifts, 0)
        # A rotation adds axis × r to the tangent, times ∂φ/∂w.
        tangents = (self._cross[0] @ vectors).unsqueeze(2) * turning[0]
        for level in range(1, self._depth):
            both = torch.cat((vectors.unsqueeze(2), tangents), dim=2)
            both = (gates[level].unsqueeze(3) * both.unsqueeze(1)).sum(2)
            vectors = _shifted(both[:, :, 0], shifts, level)
            tangents = both[:, :, 1:] + (self._cross[level] @ vectors).unsqueeze(2) * turning[level]
        return _with_one(vectors), tangents

    def _gates(self, v: Tensor) -> tuple[Tensor, Tensor | None]:
        """A of all levels and wires, (depth, n, 3, 3, B), and b, (depth, n, 3, B); None for zeros."""
        angles = self._angles(v).T
        table = angles.index_select(0, self._read) if len(angles) else v.new_zeros(len(self._read), len(v))
        weights = torch.stack((torch.ones_like(table), table.cos(), table.sin()), dim=1)
        gates = torch.bmm(self._terms, weights).view(self._depth, self.num_wires, 3, 3 + self._shifts, -1)
        return (gates[:, :, :, :3], gates[:, :, :, 3]) if self._shifts else (gates, None)


def pauli_coefficients(operators: Tensor) -> Tensor:
    """T_kP = 2⁻ⁿ Tr(M_k P), (K, 4ⁿ) real, P counted wire by wire in the order 1, X, Y, Z, wire 0 first.

    Args:
        operators: M, (K, 2ⁿ, 2ⁿ), Hermitian, in wire order.
    """
    outputs, size, _ = operators.shape
    wires = size.bit_length() - 1
    interleaved = [0, *(axis for wire in range(wires) for axis in (1 + wire, 1 + wires + wire))]
    tensor = operators.reshape(outputs, *(2,) * (2 * wires)).permute(interleaved)
    left = wires // 2
    first, second = (_trace_matrix(m, operators.dtype, operators.device) for m in (left, wires - left))
    tensor = tensor.reshape(outputs, 4**left, 4 ** (wires - left))
    return torch.real(first @ tensor @ second.T).reshape(outputs, -1)


def product_state(bloch: Tensor) -> Tensor:
    """⊗_w (1, r_w), (4ᵐ, B), of (1, r_w), (m, 4, B), or ⊗_w s_w, (2ᵐ, B); ones, (1, B), for no wire."""
    if not len(bloch):
        return bloch.new_ones(1, bloch.shape[-1])
    product = bloch[0]
    for vector in bloch[1:]:
        product = (product.unsqueeze(1) * vector).flatten(0, 1)
    return product


@cache
def _trace_matrix(wires: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Rows ½ᵐ P, as functionals on (row, column) pairs wire by wire: Tr(M P) = Σ M_ij P_ji, (4ᵐ, 4ᵐ)."""
    single = np.stack([PAULIS[name].T.reshape(4) / 2 for name in "ixyz"])
    matrix = np.eye(1, dtype=complex)
    for _ in range(wires):
        matrix = np.kron(matrix, single)
    with torch.inference_mode(False):  # it is kept, and must serve outside of inference mode too
        return torch.as_tensor(matrix, dtype=dtype, device=device)


def contract(coefficients: Tensor, bloch: Tensor) -> Tensor:
    """q, (B, K): the coefficients with every wire's coordinates, (n, 4, B) or (n, 3, B), contracted."""
    left = len(bloch) // 2
    first, second = product_state(bloch[:left]), product_state(bloch[left:])
    half = (coefficients.reshape(-1, len(second)) @ second).view(len(coefficients), len(first), -1)
    return (half * first).sum(1).T.contiguous()


def slopes_of(coefficients: Tensor, bloch: Tensor) -> Tensor:
    """∂q_k/∂r_w for every wire, (K, n, 4, B), by halves: contract one half of the wires, go on in the other.

    Of three coordinates a wire, (n, 3, B), it is (K, n, 3, B).
    """
    outputs, left = len(coefficients), len(bloch) // 2
    if left == 0:
        return coefficients[:, None, :, None].expand(-1, -1, -1, bloch.shape[-1])
    first, second = product_state(bloch[:left]), product_state(bloch[left:])
    table = coefficients.view(outputs, len(first), len(second))
    of_first = (table.reshape(-1, len(second)) @ second).view(outputs, len(first), -1)
    of_second = (table.mT.reshape(-1, len(first)) @ first).view(outputs, len(second), -1)
    return torch.cat((contract_halves(of_first, bloch[:left]), contract_halves(of_second, bloch[left:])), dim=1)


def contract_halves(table: Tensor, bloch: Tensor) -> Tensor:
    """As `slopes_of`, for coefficients (K, 4ᵐ, B) that differ from sample to sample; (K, m, 4, B).

    Of amplitudes, (K, 2ᵐ, B), with the states of the wires, (m, 2, B), it is (K, m, 2, B).
    """
    left = len(bloch) // 2
    if left == 0:
        return table.unsqueeze(1)
    first, second = product_state(bloch[:left]), product_state(bloch[left:])
    matrix = table.view(len(table), len(first), len(second), -1)
    of_first = (matrix * second).sum(2)
    of_second = (matrix * first.unsqueeze(1)).sum(1)
    return torch.cat((contract_halves(of_first, bloch[:left]), contract_halves(of_second, bloch[left:])), dim=1)


def _shifted(vectors: Tensor, shifts: Tensor | None, level: int) -> Tensor:
    return vectors if shifts is None else vectors + shifts[level]


def _with_one(vectors: Tensor) -> Tensor:
    return torch.nn.functional.pad(vectors, (0, 0, 1, 0), value=1.0)


_Layer = list[tuple[np.ndarray, int | None, np.ndarray]]
"""For each wire: rotation axis, slot (None for none) and the transfer matrix, (4, 4), before it."""


def _layers(steps: Sequence[Step], num_wires: int) -> list[_Layer]:
    per_wire: list[_Layer] = [[] for _ in range(num_wires)]
    pending = [np.eye(4) for _ in range(num_wires)]
    for step in steps:
        (wire,) = step.wires
        for turn in step.turns:
            assert turn.scale == 1
            axis = np.array([float(turn.pauli == letter) for letter in "xyz"])
            per_wire[wire].append((axis, turn.slot, pending[wire]))
            pending[wire] = np.eye(4)
        if step.transfer is not None:
            pending[wire] = step.transfer @ pending[wire]
    depth = max(1, *(len(rotations) + 1 for rotations in per_wire))
    if all(np.array_equal(rest, np.eye(4)) for rest in pending):
        depth = max(1, *(len(rotations) for rotations in per_wire))
    for wire, rotations in enumerate(per_wire):
        if len(rotations) < depth:
            rotations.append((np.zeros(3), None, pending[wire]))
        rotations.extend([(np.zeros(3), None, np.eye(4))] * (depth - len(rotations)))
    return [[per_wire[wire][level] for wire in range(num_wires)] for level in range(depth)]


def _cross(axis: np.ndarray) -> np.ndarray:
    """The matrix of a × ·."""
    x, y, z = axis
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
