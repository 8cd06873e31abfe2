r"""Where to cut a weight block in two, W = L E: states are carried up to the cut, observables back to it.

Before the cut a product state falls into *groups*, wires that the gates of E have joined; after it each observable
sees only its *light cone*, the wires from which gates of L reach it. So neither 2ⁿ amplitudes nor operators on all n
wires are needed, however many wires there are, as long as the circuit is shallow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from qdeq_qiskit.backends.program import AngleMap, GateProgram, Operation

_PLANNED = (256, 12)
"""Samples and Jacobians of the training step that a cut is chosen for: eight of a solve, and a penalty's with its
gradient."""
_BUILDS = 3  # a gradient takes twice what operators take
_WIDTH = 4  # of the blocks that states go through
_MOVED = 30  # operations that could be done while a number is moved or multiplied by itself


@dataclass(frozen=True)
class Piece:
    """Some of a program's operations, on few wires.

    Attributes:
        wires: in ascending order; the piece's wire i is the program's wire wires[i].
        program: the operations, wires and slots counted anew.
        slots: which of the program's slots they are.
    """

    wires: tuple[int, ...]
    program: GateProgram
    slots: tuple[int, ...]


@dataclass(frozen=True)
class Cone:
    """What some observables see of the late part.

    Attributes:
        piece: the gates of the late part that reach them.
        outputs: which observables.
    """

    piece: Piece
    outputs: tuple[int, ...]


@dataclass(frozen=True)
class Cut:
    """A weight block in two parts.

    Attributes:
        groups: of the early part, every wire in one of them.
        cones: of the late part, every observable in one of them.
    """

    groups: tuple[Piece, ...]
    cones: tuple[Cone, ...]

    @cached_property
    def build(self) -> int:
        """Floating-point operations, the leading ones, of all operators: products and their coordinates."""
        return sum(16 * len(cone.outputs) * 8 ** len(cone.piece.wires) for cone in self.cones)

    @cached_property
    def jacobian(self) -> int:
        """Floating-point operations of one sample's outputs with their Jacobian."""
        return self._evaluation(tangents=True)

    @cached_property
    def value(self) -> int:
        """Floating-point operations of one sample's outputs."""
        return self._evaluation(tangents=False)

    def _evaluation(self, *, tangents: bool) -> int:
        total = 0
        for group in self.groups:
            vectors = 1 + len(group.wires) * tangents
            joining = sum(len(operation.wires) > 1 for operation in group.program.operations)
            total += 8 * 2**_WIDTH * 2 ** len(group.wires) * vectors * -(-joining // 3)  # about three in a block
        return total + sum(self._contraction(cone, tangents=tangents) for cone in self.cones)

    def _contraction(self, cone: Cone, *, tangents: bool) -> int:
        """Of one light cone: with the group that has most of its wires, and then with the others."""
        outputs, seen = len(cone.outputs), set(cone.piece.wires)
        shared, size = max((len(seen & set(group.wires)), len(group.wires)) for group in self.groups)
        rest = 4 ** (len(seen) - shared)
        total = 8 * 2 ** (size + shared) + outputs * (2 * 4 ** len(seen) + _MOVED * rest)
        if tangents:
            total += outputs * (4 * 4 ** len(seen) + 8 * 2 ** (size + shared) + 8 * size * 2**size)
            total += _MOVED * (2**size * (1 + size) + rest)
        return total


def cut_at(program: GateProgram, supports: Sequence[frozenset[int]], place: int) -> Cut:
    """The cut after so many operations, and after those that need no larger group.

    Args:
        program: the weight block.
        supports: the wires that each observable acts on.
        place: how many operations come before it at the least.
    """
    groups = _groups(program.operations[:place], program.num_qubits)
    early, late, blocked = [], [], set[int]()
    for operation in program.operations:
        # Where a wire stands alone its gates cost nothing as part of the operators.
        home = any(len(group) > 1 and group.issuperset(operation.wires) for group in groups)
        if home and blocked.isdisjoint(operation.wires):
            early.append(operation)
        else:
            blocked.update(operation.wires)
            late.append(operation)
    pieces = tuple(
        _piece([operation for operation in early if group.issuperset(operation.wires)], group, program)
        for group in groups
    )
    return Cut(pieces, _cones(late, supports, program))


def best_cut(program: GateProgram, supports: Sequence[frozenset[int]]) -> Cut:
    """The cut with which a training step of `_PLANNED` takes the fewest operations."""
    places = range(len(program.operations) + 1)
    return min((cut_at(program, supports, place) for place in places), key=_step)


def _step(cut: Cut) -> int:
    samples, jacobians = _PLANNED
    return _BUILDS * cut.build + samples * jacobians * cut.jacobian


def _groups(operations: Sequence[Operation], num_qubits: int) -> list[frozenset[int]]:
    """Which wires the operations join."""
    groups = [frozenset({wire}) for wire in range(num_qubits)]
    for operation in operations:
        touched = [group for group in groups if not group.isdisjoint(operation.wires)]
        if len(touched) > 1:
            groups = [group for group in groups if group not in touched] + [frozenset().union(*touched)]
    return groups


def _cones(late: Sequence[Operation], supports: Sequence[frozenset[int]], program: GateProgram) -> tuple[Cone, ...]:
    """An observable whose cone lies in another's is put with it."""
    found = sorted(((_light_cone(late, support), output) for output, support in enumerate(supports)), key=_size)
    cones: list[tuple[frozenset[int], list[int]]] = []
    for wires, output in reversed(found):
        larger = next((outputs for others, outputs in cones if wires <= others), None)
        if larger is None:
            cones.append((wires, [output]))
        else:
            larger.append(output)
    return tuple(
        Cone(_piece(_reaching(late, wires, [supports[k] for k in outputs]), wires, program), tuple(sorted(outputs)))
        for wires, outputs in cones
    )


def _size(cone: tuple[frozenset[int], int]) -> int:
    return len(cone[0])


def _light_cone(late: Sequence[Operation], support: frozenset[int]) -> frozenset[int]:
    cone = set(support) or {0}  # the identity sees no wire, but operators need one
    for operation in reversed(late):
        if not cone.isdisjoint(operation.wires):
            cone.update(operation.wires)
    return frozenset(cone)


def _reaching(late: Sequence[Operation], wires: frozenset[int], supports: Sequence[frozenset[int]]) -> list[Operation]:
    """The operations that any of the supports sees."""
    cone, seen = set().union(*supports), []
    for operation in reversed(late):
        if not cone.isdisjoint(operation.wires):
            cone.update(operation.wires)
            seen.append(operation)
    assert cone <= wires
    return seen[::-1]


def _piece(operations: Sequence[Operation], wires: frozenset[int], program: GateProgram) -> Piece:
    order = sorted(wires)
    place = {wire: index for index, wire in enumerate(order)}
    slots: list[int] = []
    moved = []
    for operation in operations:
        slot = None
        if operation.slot is not None:
            slot = len(slots)
            slots.append(operation.slot)
        moved.append(replace(operation, wires=tuple(place[wire] for wire in operation.wires), slot=slot))
    angles = AngleMap(program.angle_map.parameters, tuple(program.angle_map.expressions[slot] for slot in slots))
    return Piece(tuple(order), GateProgram(len(order), tuple(moved), angles), tuple(slots))
