r"""The angle-encoded map: a product state, seen through its Bloch vectors.

With :math:`ρ = \bigotimes_w (1 + \vec r_w \cdot \vec σ) / 2` the outputs are multilinear,

.. math:: q_k(v) = \sum_P T_{kP} \prod_w r_{w, P_w}, \quad T_{kP} = 2^{-n} \mathrm{Tr}(M_k P) ,

with :math:`r_w = (1, \vec r_w)`, so values and derivatives are real and in closed form.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.program import PAULIS, GateProgram, generator
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost


class BlochEncoder:
    """Bloch vectors of a product-state encoder, and their derivatives along given directions of the features.

    The l-th rotations of all wires are done at once; a wire with fewer is padded with identities.

    Args:
        program: single-wire operations; the angle map's parameters are the features (and the weights, unused).
        num_features: d.
        device: where the tensors live.
        dtype: real dtype.
    """

    def __init__(self, program: GateProgram, num_features: int, *, device: torch.device, dtype: torch.dtype) -> None:
        self.num_wires = program.num_qubits
        self._num_features = num_features
        self._unused = len(program.angle_map.parameters) - num_features
        self._plain = program.angle_map.plain_indices
        self._angles = program.angle_map.compile()
        layers = _layers(program)
        depth, wires = len(layers), self.num_wires
        terms = torch.zeros(depth, wires, 3, 3, 3, dtype=torch.float64)  # weights (1, cos φ, sin φ)
        cross = torch.zeros(depth, wires, 3, 3, dtype=torch.float64)
        read = torch.zeros(depth, wires, dtype=torch.long)
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
        self._depth = depth
        self._terms = terms.to(device, dtype).reshape(depth * wires, 3, 9)
        self._cross = cross.to(device, dtype)
        self._read = read.flatten().to(device)
        self._dtype, self._device = dtype, device

    def directions(self, v: Tensor, lift: Tensor) -> Tensor:
        """∂φ/∂w for v = R w + x: (G, m) if the angles are features as they are, else (B, G, m)."""
        if self._plain is not None:
            return lift[torch.tensor(self._plain, dtype=torch.long, device=lift.device)]
        columns = [torch.func.jvp(self._feature_angles, (v,), (column.expand_as(v),))[1] for column in lift.T]
        return torch.stack(columns, dim=-1)

    def bloch(self, v: Tensor) -> Tensor:
        """(1, r) of every wire, (B, n, 4)."""
        vectors = self._rotated(v)[0][..., :1]
        return self._with_one(vectors.squeeze(-1))

    def bloch_and_tangents(self, v: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """(1, r), (B, n, 4), and ∂r/∂w, (B, n, 3, m), along `directions` from the method of that name."""
        per_slot = directions.index_select(-2, self._read)  # (..., depth·n, m)
        per_slot = per_slot.unflatten(-2, (self._depth, self.num_wires))
        vectors, tangents = self._rotated(v, per_slot)
        return self._with_one(vectors.squeeze(-1)), tangents

    def _feature_angles(self, v: Tensor) -> Tensor:
        return self._angles(torch.nn.functional.pad(v, (0, self._unused)) if self._unused else v)

    def _with_one(self, vectors: Tensor) -> Tensor:
        return torch.nn.functional.pad(vectors, (1, 0), value=1.0)

    def _rotated(self, v: Tensor, per_slot: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Bloch vectors, (B, n, 3, 1), and their tangents, (B, n, 3, m); m = 0 without `per_slot`."""
        batch, wires = v.shape[0], self.num_wires
        angles = self._feature_angles(v)
        table = angles.index_select(-1, self._read) if angles.shape[-1] else v.new_zeros(batch, len(self._read))
        weights = torch.stack((torch.ones_like(table), table.cos(), table.sin()), dim=-1)
        # (depth·n, B, 9) → (depth, B, n, 3, 3)
        gates = torch.bmm(weights.transpose(0, 1), self._terms).view(self._depth, wires, batch, 3, 3).transpose(1, 2)
        vectors = gates[0][..., 2:]  # |0⟩ points to +z
        if per_slot is None:
            for level in range(1, self._depth):
                vectors = gates[level] @ vectors
            return vectors, vectors[..., :0]
        tangents = self._turned(0, vectors, per_slot)
        for level in range(1, self._depth):
            both = gates[level] @ torch.cat((vectors, tangents), dim=-1)
            vectors = both[..., :1]
            tangents = both[..., 1:] + self._turned(level, vectors, per_slot)
        return vectors, tangents

    def _turned(self, level: int, vectors: Tensor, per_slot: Tensor) -> Tensor:
        """The tangent that the rotations of one level add: axis × r, times ∂φ/∂w."""
        return (self._cross[level] @ vectors) * per_slot[..., level, :, :].unsqueeze(-2)


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
        value = torch.bmm(slopes[:, :, 0], bloch[:, 0].unsqueeze(-1)).squeeze(-1)
        gradients = slopes[..., 1:].flatten(-2)
        return value, torch.bmm(gradients, tangents.flatten(1, 2))


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
    first, second = _trace_matrix(left, operators), _trace_matrix(wires - left, operators)
    tensor = tensor.reshape(outputs, 4**left, 4 ** (wires - left))
    return torch.real(first @ tensor @ second.T).reshape(outputs, -1)


def _trace_matrix(wires: int, like: Tensor) -> Tensor:
    """Rows ½ᵐ P, as functionals on (row, column) pairs wire by wire: Tr(M P) = Σ M_ij P_ji, (4ᵐ, 4ᵐ)."""
    single = np.stack([PAULIS[name].T.reshape(4) / 2 for name in "ixyz"])
    matrix = np.eye(1, dtype=complex)
    for _ in range(wires):
        matrix = np.kron(matrix, single)
    return torch.as_tensor(matrix, dtype=like.dtype, device=like.device)


def _contract(coefficients: Tensor, bloch: Tensor) -> Tensor:
    """q, (B, K): the coefficients with every wire's (1, r) contracted."""
    wires = bloch.shape[1]
    left = wires // 2
    second = _kron(bloch[:, left:])
    half = (second @ coefficients.reshape(-1, second.shape[1]).T).view(len(bloch), len(coefficients), -1)
    if left == 0:
        return half.squeeze(-1)
    return torch.bmm(half, _kron(bloch[:, :left]).unsqueeze(-1)).squeeze(-1)


def _slopes(coefficients: Tensor, bloch: Tensor) -> Tensor:
    """∂q_k/∂r_w for every wire, (B, K, n, 4), by halves: contract one half of the wires, go on in the other."""
    outputs, wires = len(coefficients), bloch.shape[1]
    if wires == 1:
        return coefficients.expand(len(bloch), outputs, 4).unsqueeze(2)
    left = wires // 2
    first, second = _kron(bloch[:, :left]), _kron(bloch[:, left:])
    table = coefficients.reshape(outputs, first.shape[1], second.shape[1])
    of_first = (second @ table.reshape(-1, second.shape[1]).T).view(len(bloch), outputs, -1)
    of_second = (first @ table.transpose(0, 1).reshape(first.shape[1], -1)).view(len(bloch), outputs, -1)
    return torch.cat((_half_slopes(of_first, bloch[:, :left]), _half_slopes(of_second, bloch[:, left:])), dim=2)


def _half_slopes(table: Tensor, bloch: Tensor) -> Tensor:
    """As `_slopes`, for coefficients (B, K, 4ᵐ) that differ from sample to sample; (B, K, m, 4)."""
    batch, outputs, _ = table.shape
    wires = bloch.shape[1]
    if wires == 1:
        return table.unsqueeze(2)
    left = wires // 2
    first, second = _kron(bloch[:, :left]), _kron(bloch[:, left:])
    matrix = table.view(batch, outputs, first.shape[1], second.shape[1])
    of_first = torch.matmul(matrix, second[:, None, :, None]).squeeze(-1)
    of_second = torch.matmul(first[:, None, None, :], matrix).squeeze(-2)
    return torch.cat((_half_slopes(of_first, bloch[:, :left]), _half_slopes(of_second, bloch[:, left:])), dim=2)


def _kron(bloch: Tensor) -> Tensor:
    """⊗_w (1, r_w), (B, 4ᵐ)."""
    product = bloch[:, 0]
    for wire in range(1, bloch.shape[1]):
        product = (product.unsqueeze(-1) * bloch[:, wire].unsqueeze(1)).flatten(1)
    return product


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
