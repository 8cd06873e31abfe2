r"""The angle-encoded map: a product state, seen through its Bloch vectors.

With :math:`ρ = \bigotimes_w (1 + \vec r_w \cdot \vec σ) / 2` the outputs are multilinear,

.. math:: q_k(v) = \sum_P T_{kP} \prod_w r_{w, P_w}, \quad T_{kP} = 2^{-n} \mathrm{Tr}(M_k P) ,

with :math:`r_w = (1, \vec r_w)`, so values and derivatives are real and in closed form.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.program import PAULIS, GateProgram, generator
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost


class BlochEncoder:
    """Bloch vectors of a product-state encoder, and their derivatives along given directions of the features.

    The l-th rotations of all wires are done at once; a wire with fewer is padded with identities. The batch is the
    last axis of everything, where the many 3×3 products run fastest.

    Args:
        program: single-wire operations; the angle map's parameters are the features (and the weights, unused).
        num_features: d.
        device: where the tensors live.
        dtype: real dtype.
    """

    def __init__(self, program: GateProgram, num_features: int, *, device: torch.device, dtype: torch.dtype) -> None:
        self.num_wires = program.num_qubits
        self._unused = len(program.angle_map.parameters) - num_features
        self._angles = program.angle_map.compile()
        plain = program.angle_map.plain_indices
        self._plain = None if plain is None else torch.tensor(plain, dtype=torch.long, device=device)
        layers = _layers(program)
        terms = torch.zeros(len(layers), self.num_wires, 3, 3, 3, dtype=torch.float64)  # of 1, cos φ and sin φ
        cross = torch.zeros(len(layers), self.num_wires, 3, 3, dtype=torch.float64)
        read = torch.zeros(len(layers), self.num_wires, dtype=torch.long)
        for level, layer in enumerate(layers):
            for wire, (axis, slot, before) in enumerate(layer):
                fixed = torch.as_tensor(before)
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
        self._terms = terms.to(device, dtype).flatten(0, 1).flatten(2).mT.contiguous()  # (depth·n, 9, 3)
        self._cross = cross.to(device, dtype)
        self._read = read.flatten().to(device)

    def directions(self, v: Tensor, lift: Tensor) -> Tensor:
        """∂φ/∂w for v = R w + x, (G, m, 1) if the angles are features as they are, else (G, m, B)."""
        if self._plain is not None:
            return lift.index_select(0, self._plain).unsqueeze(-1)
        columns = [torch.func.jvp(self._feature_angles, (v,), (column.expand_as(v),))[1] for column in lift.T]
        return torch.stack(columns, dim=-1).permute(1, 2, 0)

    def bloch(self, v: Tensor) -> Tensor:
        """(1, r) of every wire, (n, 4, B), of features, (B, d)."""
        gates = self._gates(v)
        vectors = gates[0][:, :, 2]  # |0⟩ points to +z
        for level in range(1, self._depth):
            vectors = (gates[level] * vectors.unsqueeze(1)).sum(2)
        return _with_one(vectors)

    def bloch_and_tangents(self, v: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """(1, r), (n, 4, B), and ∂r/∂w, (n, 3, m, B), along `directions` from the method of that name."""
        gates = self._gates(v)
        turning = directions.index_select(0, self._read).unflatten(0, (self._depth, self.num_wires)).unsqueeze(2)
        vectors = gates[0][:, :, 2]
        # A rotation adds axis × r to the tangent, times ∂φ/∂w.
        tangents = (self._cross[0] @ vectors).unsqueeze(2) * turning[0]
        for level in range(1, self._depth):
            both = torch.cat((vectors.unsqueeze(2), tangents), dim=2)
            both = (gates[level].unsqueeze(3) * both.unsqueeze(1)).sum(2)
            vectors = both[:, :, 0]
            tangents = both[:, :, 1:] + (self._cross[level] @ vectors).unsqueeze(2) * turning[level]
        return _with_one(vectors), tangents

    def _gates(self, v: Tensor) -> Tensor:
        """Rotations of all levels and wires, (depth, n, 3, 3, B)."""
        angles = self._feature_angles(v).T
        table = angles.index_select(0, self._read) if len(angles) else v.new_zeros(len(self._read), len(v))
        weights = torch.stack((torch.ones_like(table), table.cos(), table.sin()), dim=1)
        return torch.bmm(self._terms, weights).view(self._depth, self.num_wires, 3, 3, -1)

    def _feature_angles(self, v: Tensor) -> Tensor:
        return self._angles(torch.nn.functional.pad(v, (0, self._unused)) if self._unused else v)


class ProductMap(FixedPointMap):
    """w ↦ q(R w + x) for a product-state encoder.

    Args:
        coefficients: T, (K, 4ⁿ), from `pauli_coefficients`.
        x: features, (B, d).
        lift: R, (d, n).
        encoder: Bloch vectors of the features.
        cost: circuits that a machine would need.
    """

    def __init__(self, coefficients: Tensor, x: Tensor, lift: Tensor, encoder: BlochEncoder, cost: MapCost) -> None:
        self._coefficients = coefficients
        self._x = x
        self._lift = lift
        self._encoder = encoder
        self._cost = cost

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._coefficients, self._x

    @property
    def cost(self) -> MapCost:
        return self._cost

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> ProductMap:
        coefficients, x = inputs
        return ProductMap(coefficients, x, self._lift, self._encoder, self._cost)

    def select(self, rows: Tensor) -> ProductMap:
        return self.with_inputs((self._coefficients, self._x.index_select(0, rows)))

    def value(self, w: Tensor) -> Tensor:
        v = torch.addmm(self._x, w, self._lift.T)
        return _contract(self._coefficients, self._encoder.bloch(v))

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        return self._derivatives(w, self._lift)

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        identity = torch.eye(self._x.shape[1], dtype=self._x.dtype, device=self._x.device)
        return self._derivatives(w, identity)[1]

    def _derivatives(self, w: Tensor, lift: Tensor) -> tuple[Tensor, Tensor]:
        v = torch.addmm(self._x, w, self._lift.T)
        bloch, tangents = self._encoder.bloch_and_tangents(v, self._encoder.directions(v, lift))
        slopes = _slopes(self._coefficients, bloch)
        # Any wire's slope gives the value back, q being linear in it.
        value = (slopes[:, 0] * bloch[0]).sum(1)
        jacobian = (slopes[:, :, 1:].unsqueeze(3) * tangents).sum((1, 2))
        return value.T.contiguous(), jacobian.permute(2, 0, 1)


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


@cache
def _trace_matrix(wires: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Rows ½ᵐ P, as functionals on (row, column) pairs wire by wire: Tr(M P) = Σ M_ij P_ji, (4ᵐ, 4ᵐ)."""
    single = np.stack([PAULIS[name].T.reshape(4) / 2 for name in "ixyz"])
    matrix = np.eye(1, dtype=complex)
    for _ in range(wires):
        matrix = np.kron(matrix, single)
    with torch.inference_mode(False):  # it is kept, and must serve outside of inference mode too
        return torch.as_tensor(matrix, dtype=dtype, device=device)


def _contract(coefficients: Tensor, bloch: Tensor) -> Tensor:
    """q, (B, K): the coefficients with every wire's (1, r) contracted."""
    left = len(bloch) // 2
    first, second = _kron(bloch[:left]), _kron(bloch[left:])
    half = (coefficients.reshape(-1, len(second)) @ second).view(len(coefficients), len(first), -1)
    return (half * first).sum(1).T.contiguous()


def _slopes(coefficients: Tensor, bloch: Tensor) -> Tensor:
    """∂q_k/∂r_w for every wire, (K, n, 4, B), by halves: contract one half of the wires, go on in the other."""
    outputs, left = len(coefficients), len(bloch) // 2
    if left == 0:
        return coefficients[:, None, :, None].expand(-1, 1, 4, bloch.shape[-1])
    first, second = _kron(bloch[:left]), _kron(bloch[left:])
    table = coefficients.view(outputs, len(first), len(second))
    of_first = (table.reshape(-1, len(second)) @ second).view(outputs, len(first), -1)
    of_second = (table.mT.reshape(-1, len(first)) @ first).view(outputs, len(second), -1)
    return torch.cat((_half_slopes(of_first, bloch[:left]), _half_slopes(of_second, bloch[left:])), dim=1)


def _half_slopes(table: Tensor, bloch: Tensor) -> Tensor:
    """As `_slopes`, for coefficients (K, 4ᵐ, B) that differ from sample to sample; (K, m, 4, B)."""
    left = len(bloch) // 2
    if left == 0:
        return table.unsqueeze(1)
    first, second = _kron(bloch[:left]), _kron(bloch[left:])
    matrix = table.view(len(table), len(first), len(second), -1)
    of_first = (matrix * second).sum(2)
    of_second = (matrix * first.unsqueeze(1)).sum(1)
    return torch.cat((_half_slopes(of_first, bloch[:left]), _half_slopes(of_second, bloch[left:])), dim=1)


def _kron(bloch: Tensor) -> Tensor:
    """⊗_w (1, r_w), (4ᵐ, B); ones, (1, B), for no wire."""
    if not len(bloch):
        return bloch.new_ones(1, bloch.shape[-1])
    product = bloch[0]
    for vector in bloch[1:]:
        product = (product.unsqueeze(1) * vector).flatten(0, 1)
    return product


def _with_one(vectors: Tensor) -> Tensor:
    return torch.nn.functional.pad(vectors, (0, 0, 1, 0), value=1.0)


def _layers(program: GateProgram) -> list[list[tuple[np.ndarray, int | None, np.ndarray]]]:
    """For each level and wire: rotation axis, slot (None for none) and the fixed Bloch rotation before it."""
    per_wire: list[list[tuple[np.ndarray, int | None, np.ndarray]]] = [[] for _ in range(program.num_qubits)]
    pending = [np.eye(3) for _ in range(program.num_qubits)]
    for operation in program.operations:
        (wire,) = operation.wires
        if operation.slot is None:
            assert operation.matrix is not None
            pending[wire] = _bloch_rotation(operation.matrix) @ pending[wire]
        else:
            axis = np.array([np.trace(PAULIS[p] @ generator(operation.name)).real / 2 for p in "xyz"])
            per_wire[wire].append((axis, operation.slot, pending[wire]))
            pending[wire] = np.eye(3)
    depth = max(1, *(len(rotations) + 1 for rotations in per_wire))
    if all(np.array_equal(rest, np.eye(3)) for rest in pending):
        depth = max(1, *(len(rotations) for rotations in per_wire))
    for wire, rotations in enumerate(per_wire):
        if len(rotations) < depth:
            rotations.append((np.zeros(3), None, pending[wire]))
        rotations.extend([(np.zeros(3), None, np.eye(3))] * (depth - len(rotations)))
    return [[per_wire[wire][level] for wire in range(program.num_qubits)] for level in range(depth)]


def _bloch_rotation(unitary: np.ndarray) -> np.ndarray:
    """O_ij = ½ Tr(σ_i U σ_j U†)."""
    sigma = [PAULIS[name] for name in "xyz"]
    return np.array([[np.trace(a @ unitary @ b @ unitary.conj().T).real / 2 for b in sigma] for a in sigma])


def _cross(axis: np.ndarray) -> np.ndarray:
    """The matrix of a × ·."""
    x, y, z = axis
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
