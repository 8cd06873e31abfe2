r"""The angle-encoded map, its weight block cut in two: :math:`q_k = \mathrm{Tr}(M_k \bigotimes_g ρ_g)`.

The early part takes each group g of wires from a product state to :math:`ψ_g`; :math:`ρ_g` is its density matrix on
the wires in a light cone; :math:`M_k` are the observables carried back through the late part, on that light cone.

A wire's state moves in one direction, :math:`∂s = c\, s^⊥ + iβ s`, and no output sees β. So there is one tangent a
wire, whatever the number of features: :math:`τ_w`, ψ with :math:`s_w^⊥` in place of :math:`s_w`. With :math:`G_k` the
matrix of :math:`q_k` as a function of :math:`ρ_g`,

.. math:: \partial q_k = 2 \operatorname{Re} \sum_w c_w \operatorname{Tr}(G_k |τ_w⟩⟨ψ_g|) .

Hermitian matrices H stand in real coordinates, Re H + Im H, in which Tr(G H) is the sum of products.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from qiskit.quantum_info import PauliList, SparsePauliOp
from torch import Tensor

from qdeq_qiskit.backends.cut import Cone, Cut
from qdeq_qiskit.backends.engines import TorchEngine
from qdeq_qiskit.backends.maps.group_states import GroupStates, Grown
from qdeq_qiskit.backends.maps.product_state import WireStates, in_parts
from qdeq_qiskit.backends.readout import Readout

MOST_SAMPLES = 256
"""Samples evaluated at once: some 50 MB with what autograd records."""

MOST_RECORDED = 4096
"""Samples that autograd may record."""


class CutBlock:
    """q(v) and ∂q/∂w given the early part's factors and the coordinates of the late part's operators.

    Args:
        cut: the weight block's two parts.
        encoder: the wires' states.
        observables: what is measured.
        device: where the tensors live.
        dtype: real dtype.
    """

    def __init__(
        self,
        cut: Cut,
        encoder: WireStates,
        observables: Sequence[SparsePauliOp],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._encoder = encoder
        self._groups = [GroupStates(piece, device=device, dtype=dtype) for piece in cut.groups]
        self._cones = [
            _ConeOperators(cone, self._groups, observables, device=device, dtype=dtype) for cone in cut.cones
        ]
        outputs = [output for cone in cut.cones for output in cone.outputs]
        self._order = torch.tensor(sorted(range(len(outputs)), key=outputs.__getitem__), device=device)

    def block(self, angles: Tensor) -> Tensor:
        """All that evaluations need of the weights in one real vector; differentiable.

        Args:
            angles: φ, (G,), of the weight block.
        """
        pieces = [
            torch.view_as_real(group.engine.factors(angles.index_select(0, group.slots)))
            for group in self._groups
            if group.engine is not None
        ]
        pieces += [cone.coordinates(angles) for cone in self._cones]
        return torch.cat([piece.flatten() for piece in pieces])

    def value(self, v: Tensor, block: Tensor) -> Tensor:
        """q, (B, K), of features, (B, d)."""
        return in_parts(self._value, v, block, most=MOST_SAMPLES, most_recorded=MOST_RECORDED)[0]

    def value_and_jacobian(self, v: Tensor, block: Tensor, lift: Tensor) -> tuple[Tensor, Tensor]:
        """q, (B, K), and ∂q/∂w, (B, K, m), for v = R w + x, (B, d)."""

        def function(some: Tensor, given: Tensor) -> tuple[Tensor, ...]:
            return self._value_and_jacobian(some, given, lift)

        found = in_parts(function, v, block, most=MOST_SAMPLES, most_recorded=MOST_RECORDED)
        return found[0], found[1]

    def _value(self, v: Tensor, block: Tensor) -> tuple[Tensor]:
        factors, tables = self._unpacked(block)
        states = self._encoder.states(v)
        grown = self._grown(factors, states.unsqueeze(2), tangents=False)
        rows = [group.rows for group in grown]
        found = [cone.value(table, grown, rows) for cone, table in zip(self._cones, tables, strict=True)]
        return (torch.cat(found, dim=1).index_select(1, self._order),)

    def _value_and_jacobian(self, v: Tensor, block: Tensor, lift: Tensor) -> tuple[Tensor, Tensor]:
        factors, tables = self._unpacked(block)
        states, across, turns = self._encoder.states_and_turns(v, lift)
        grown = self._grown(factors, torch.stack((states, across), dim=2), tangents=True)
        rows = [group.rows for group in grown]
        # 2 Re(c D) is a sum over real and imaginary parts.
        turns = 2 * torch.view_as_real(turns.conj().resolve_conj()).permute(2, 0, 3, 1)  # (B, n, 2, m)
        values, jacobians = [], []
        for cone, table in zip(self._cones, tables, strict=True):
            value, slope = cone.value_and_slope(table, grown, rows)
            values.append(value)
            directions = turns.index_select(1, cone.moved).flatten(1, 2)
            jacobians.append(torch.bmm(torch.view_as_real(slope).flatten(2), directions))
        value = torch.cat(values, dim=1).index_select(1, self._order)
        return value, torch.cat(jacobians, dim=1).index_select(1, self._order)

    def _grown(self, factors: Sequence[Tensor | None], singles: Tensor, *, tangents: bool) -> list[Grown]:
        parts = {wire: Grown((wire,), (wire,) if tangents else (), single) for wire, single in enumerate(singles)}
        return [group.grown(some, parts) for group, some in zip(self._groups, factors, strict=True)]

    def _unpacked(self, block: Tensor) -> tuple[list[Tensor | None], list[Tensor]]:
        """The inverse of `block`: factors by group, and coordinates, (K, 4ˢ, 4ˢ', …), by cone."""
        shapes: list[tuple[int, ...]] = [(*group.shape, 2) for group in self._groups if group.engine is not None]
        shapes += [cone.shape for cone in self._cones]
        split = block.split([prod(shape) for shape in shapes])
        pieces = iter([piece.view(shape) for piece, shape in zip(split, shapes, strict=True)])
        factors = [None if group.engine is None else torch.view_as_complex(next(pieces)) for group in self._groups]
        return factors, list(pieces)


class _ConeOperators:
    """Observables carried back through the late part, on one light cone.

    Of the groups that it meets, the one with most wires in it is the *main* one.

    Args:
        cone: the gates and observables.
        groups: all groups.
        observables: all of the circuit's.
        device: where the tensors live.
        dtype: real dtype.

    Attributes:
        moved: the wires of the tangents, those of the groups that it meets.
        shape: of the operators' coordinates, (K, D, D, r, 2): the main group's matrix, complex, and real coordinates
            of all others.
    """

    def __init__(
        self,
        cone: Cone,
        groups: Sequence[GroupStates],
        observables: Sequence[SparsePauliOp],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        wires, outputs = cone.piece.wires, len(cone.outputs)
        self._engine = TorchEngine(cone.piece.program, num_columns=2 ** len(wires), device=device, dtype=dtype)
        self._slots = torch.tensor(cone.piece.slots, dtype=torch.long, device=device)
        self._readout = Readout([on_wires(observables[output], wires) for output in cone.outputs])
        common = [(index, tuple(wire for wire in group.wires if wire in wires)) for index, group in enumerate(groups)]
        met = sorted((some for some in common if some[1]), key=lambda some: -len(some[1]))
        self._main, *self._others = met
        self.moved = torch.tensor([wire for index, _ in met for wire in groups[index].moved], device=device)
        self._split = (outputs, *(2,) * (2 * len(wires)))
        # Rows and columns of one group after those of another.
        axes = [[1 + wires.index(wire) for wire in some] for _, some in met]
        self._axes = [0, *(axis + side for some in axes for side in (0, len(wires)) for axis in some)]
        self._size = 2 ** len(self._main[1])
        self._sizes = [2 ** len(some) for _, some in self._others]
        self.shape = (outputs, self._size, self._size, prod(self._sizes) ** 2, 2)

    def coordinates(self, angles: Tensor) -> Tensor:
        """Of M_k, in the shape of that name."""
        columns = self._engine.columns(angles.index_select(0, self._slots))
        table = self._readout.hermitian_operators(columns).reshape(self._split).permute(self._axes)
        before = len(table) * self._size**2
        for size in self._sizes:
            table = _coordinates(table.reshape(before, size, size, -1), 1, 2)
            before *= size**2
        return torch.view_as_real(table.reshape(self.shape[:-1]))

    def value(self, table: Tensor, grown: Sequence[Grown], rows: Sequence[Tensor]) -> Tensor:
        """q, (B, K), of the groups' states."""
        index, wires = self._main
        state = grown[index].divided(rows[index], wires)[..., 0]
        partly = _by_others(table, state)
        if not self._others:
            return partly[:, 0].T
        others = [self._seen(some, grown, rows)[:, 0].real.T for some in self._others]
        return (partly * _product(others)).sum(1).T

    def value_and_slope(self, table: Tensor, grown: Sequence[Grown], rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """q, (B, K), and D of each tangent, (B, K, m)."""
        index, wires = self._main
        vectors = grown[index].divided(rows[index], wires)  # (B, D, ·, 1 + m)
        state, outputs, batch = vectors[..., 0].contiguous(), len(table), len(vectors)
        others = [self._seen(some, grown, rows) for some in self._others]
        reals = [some[:, 0].real.T for some in others]
        weights = _product(reals).T if reals else state.real.new_ones(batch, 1)
        by_other = table.permute(3, 0, 1, 2, 4).flatten(1)
        matrices = torch.view_as_complex((weights @ by_other).view(batch, outputs * self._size, self._size, 2))
        amplitudes = state.shape[1] * state.shape[2]
        applied = torch.bmm(matrices, state).view(batch, outputs, amplitudes)  # G_k ψ
        slopes = torch.bmm(applied.conj().resolve_conj(), vectors[..., 1:].flatten(1, 2))
        value = (torch.view_as_real(applied) * torch.view_as_real(state).view(batch, 1, amplitudes, 2)).sum((2, 3))
        found = [slopes]
        if others:
            by_each = contract_each(_by_others(table, state), reals)
            for some, slope in zip(others, by_each, strict=True):
                moving = torch.view_as_real(some[:, 1:].transpose(1, 2)).flatten(2)  # (B, 4ˢ, 2m)
                product = torch.bmm(slope.permute(2, 0, 1).contiguous(), moving)
                found.append(torch.view_as_complex(product.view(batch, outputs, some.shape[1] - 1, 2)))
        return value, torch.cat(found, dim=2)

    def _seen(self, some: tuple[int, tuple[int, ...]], grown: Sequence[Grown], rows: Sequence[Tensor]) -> Tensor:
        """Coordinates of |ψ⟩⟨ψ| and |τ⟩⟨ψ| of a group on the wires in the cone, (B, 1 + m, 4ˢ)."""
        index, wires = some
        vectors = grown[index].divided(rows[index], wires).permute(0, 3, 1, 2)  # (B, 1 + m, 2ˢ, ·)
        products = torch.matmul(vectors, vectors[:, :1].mH)
        return _coordinates(products, 2, 3).flatten(2)


def on_wires(observable: SparsePauliOp, wires: Sequence[int]) -> SparsePauliOp:
    """An observable that acts on no other wires, on these alone."""
    simple = observable.simplify()
    paulis = PauliList.from_symplectic(simple.paulis.z[:, wires], simple.paulis.x[:, wires])
    return SparsePauliOp(paulis, simple.coeffs)


def contract_each(table: Tensor, vectors: Sequence[Tensor]) -> list[Tensor]:
    """T contracted with all vectors but one, for each of them, (K, D, B), by halves.

    Args:
        table: T, (K, D·D'⋯, B).
        vectors: (D, B), (D', B), ….
    """
    if len(vectors) == 1:
        return [table]
    half = len(vectors) // 2
    first, second = _product(vectors[:half]), _product(vectors[half:])
    matrix = table.view(len(table), len(first), len(second), table.shape[-1])
    of_first = (matrix * second).sum(2)
    of_second = (matrix * first.unsqueeze(1)).sum(1)
    return [*contract_each(of_first, vectors[:half]), *contract_each(of_second, vectors[half:])]


def _product(vectors: Sequence[Tensor]) -> Tensor:
    product, *others = vectors
    for vector in others:
        product = (product.unsqueeze(1) * vector).flatten(0, 1)
    return product


def _by_others(table: Tensor, state: Tensor) -> Tensor:
    """The operators with the main group's density matrix contracted, (K, r, B).

    Args:
        table: coordinates of the operators, (K, D, D, r, 2).
        state: the main group's ψ, (B, D, ·).
    """
    along = _reals(torch.bmm(state, state.mH)).flatten(1)
    by_other = _reals(torch.view_as_complex(table)).permute(0, 3, 1, 2).flatten(2)
    return (by_other.flatten(0, 1) @ along.T).view(*by_other.shape[:2], len(state))


def _coordinates(matrices: Tensor, row: int = -2, column: int = -1) -> Tensor:
    """½(1 − i) N + ½(1 + i) Nᵀ: Re N + Im N, and no imaginary part, where N is Hermitian."""
    return matrices * (0.5 - 0.5j) + matrices.transpose(row, column) * (0.5 + 0.5j)


def _reals(matrices: Tensor) -> Tensor:
    """The coordinates of Hermitian matrices, element by element."""
    return matrices.real + matrices.imag
