"""The simplest form of a product-state encoder: as few rotations, and as few wires, as its states need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from qiskit.circuit import ParameterExpression
from qiskit.quantum_info import SparsePauliOp

from qdeq_qiskit.backends.analysis import Factorisation
from qdeq_qiskit.backends.program import AngleMap, GateProgram, Operation, generator


@dataclass(frozen=True)
class ProductForm:
    """A circuit whose outputs are those of the one given, its wires in another order.

    Rotations about one axis in a row are one rotation. What a wire's gates leave as |0⟩ up to a phase, or take to a
    state that no input moves, is the weight block's to prepare. A wire that is turned along a great circle is turned
    by one RY from |0⟩, so that its state is real; what else that takes is the weight block's, too.

    Attributes:
        parts: the encoder on the wires that inputs move, and the weight block on all, where these wires are the last.
        observables: on all wires.
        real: whether every state of the encoder is real: one RY on each of its wires, in order.
    """

    parts: Factorisation
    observables: tuple[SparsePauliOp, ...]
    real: bool

    @property
    def whole_encoder(self) -> GateProgram:
        """The encoder on all wires."""
        encoder, wires = self.parts.prefix, self.parts.suffix.num_qubits
        first = wires - encoder.num_qubits
        moved = tuple(replace(each, wires=(each.wires[0] + first,)) for each in encoder.operations)
        return GateProgram(wires, moved, encoder.angle_map)

    @property
    def supports(self) -> list[frozenset[int]]:
        """The wires that each observable acts on."""
        paulis = [observable.simplify().paulis for observable in self.observables]
        return [frozenset(np.flatnonzero((each.x | each.z).any(axis=0)).tolist()) for each in paulis]


def product_form(parts: Factorisation, observables: Sequence[SparsePauliOp]) -> ProductForm:
    """The form of a factorisation of kind "product"."""
    count = parts.prefix.num_qubits
    found = [_Wire.of(parts.prefix, wire) for wire in range(count)]
    moved = [wire for wire in range(count) if found[wire].turns] or [0]
    order = [*(wire for wire in range(count) if wire not in moved), *moved]
    simple = order == sorted(order) and all(wire.absorbed is None for wire in found)
    if simple and sum(len(wire.turns) for wire in found) == parts.prefix.num_slots:
        return ProductForm(parts, tuple(observables), real=False)
    place = {wire: index for index, wire in enumerate(order)}
    before: list[Operation] = []
    encoder: list[Operation] = []
    expressions: list[ParameterExpression] = []
    for wire in order:
        absorbed = found[wire].absorbed
        if absorbed is not None and not np.array_equal(absorbed, np.eye(2)):
            before.append(Operation("unitary", (place[wire],), matrix=absorbed))
        if absorbed is not None:
            gates: list[_Turn] = [replace(turn, name="ry", before=np.eye(2)) for turn in found[wire].turns]
            rest = np.eye(2)
        else:
            gates, rest = found[wire].turns, found[wire].rest
        here = (place[wire] - count + len(moved),)
        for turn in gates:
            if not np.array_equal(turn.before, np.eye(2)):
                encoder.append(Operation("unitary", here, matrix=turn.before))
            encoder.append(Operation(turn.name, here, slot=len(expressions)))
            expressions.append(turn.angle)
        if not np.array_equal(rest, np.eye(2)):
            encoder.append(Operation("unitary", here, matrix=rest))
    angles = AngleMap(parts.prefix.angle_map.parameters, tuple(expressions))
    late = [replace(each, wires=tuple(place[wire] for wire in each.wires)) for each in parts.suffix.operations]
    return ProductForm(
        replace(
            parts,
            prefix=GateProgram(len(moved), tuple(encoder), angles),
            suffix=replace(parts.suffix, operations=(*before, *late)),
            num_columns=2 ** len(moved),
        ),
        tuple(observables) if order == sorted(order) else tuple(_reordered(each, order) for each in observables),
        real=all(found[wire].absorbed is not None and found[wire].turns for wire in moved),
    )


@dataclass(frozen=True)
class _Turn:
    """A rotation of one wire, and the fixed unitary, (2, 2), before it."""

    before: np.ndarray
    name: str
    angle: ParameterExpression


@dataclass(frozen=True)
class _Wire:
    """A wire's gates: rotations with fixed gates before each, and the fixed unitary, (2, 2), after all of them."""

    turns: list[_Turn]
    rest: np.ndarray

    @classmethod
    def of(cls, program: GateProgram, wire: int) -> _Wire:
        turns: list[_Turn] = []
        rest = np.eye(2, dtype=complex)
        for operation in program.operations:
            if operation.wires != (wire,):
                continue
            if operation.slot is None:
                assert operation.matrix is not None
                rest = operation.matrix @ rest
                continue
            angle, h = program.angle_map.expressions[operation.slot], generator(operation.name)
            if not turns:
                if not _is_kept(h, rest[:, 0]):
                    turns.append(_Turn(rest, operation.name, angle))
                    rest = np.eye(2, dtype=complex)
                continue
            axis = rest @ generator(turns[-1].name) @ rest.conj().T  # of the last rotation, seen from here
            if _is_same(axis, h) or _is_same(axis, -h):
                sum_of_both = turns[-1].angle + angle if _is_same(axis, h) else turns[-1].angle - angle
                turns[-1] = replace(turns[-1], angle=sum_of_both)
            else:
                turns.append(_Turn(rest, operation.name, angle))
                rest = np.eye(2, dtype=complex)
        return cls(turns, rest)

    @property
    def absorbed(self) -> np.ndarray | None:
        """V, (2, 2), if this wire's state is V|0⟩, or V RY(φ)|0⟩ with the angle φ of its one turn; else None."""
        if not self.turns:
            return np.eye(2) if abs(self.rest[1, 0]) < _ROUNDING else self.rest
        if len(self.turns) > 1:
            return None
        (turn,) = self.turns
        start, h = turn.before[:, 0], generator(turn.name)
        if abs(start.conj() @ h @ start) > _ROUNDING:
            return None  # a small circle
        # cos φ/2 · U|0⟩ − i sin φ/2 · H U|0⟩, and what comes after it
        return _exact(self.rest @ np.stack((start, -1j * h @ start), axis=1))


_ROUNDING = 1e-12


def _is_kept(h: np.ndarray, state: np.ndarray) -> bool:
    """Whether a state is an eigenvector of H, with H² = 1."""
    moved = h @ state
    return _is_same(moved, (state.conj() @ moved) * state)


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    return np.allclose(one, other, rtol=0, atol=_ROUNDING)


def _exact(matrix: np.ndarray) -> np.ndarray:
    """The identity itself where there is only rounding between."""
    return np.eye(2) if _is_same(matrix, np.eye(2)) else matrix


def _reordered(observable: SparsePauliOp, order: Sequence[int]) -> SparsePauliOp:
    """With wire order[i] as wire i."""
    place = sorted(range(len(order)), key=order.__getitem__)
    return observable.apply_layout(place)
