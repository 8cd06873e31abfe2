"""Bases of stabiliser states by their Pauli strings, and the circuits with the fewest CZ that prepare them.

A basis is what diagonalises a maximal set of commuting strings. A string on m wires is a number of 2m bits, x before
z, the first wire's bit the highest; a basis is the frozen set of its 2ᵐ − 1 strings, signs apart. There are 2,295 of
them on four wires, few enough to be searched through.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from qdeq_qiskit.backends.surrogate.designs._design import Edge

Basis = frozenset[int]


@dataclass(frozen=True)
class Gate:
    """A Clifford gate of a preparation.

    Attributes:
        name: h, s or cz.
        wires: what it acts on.
    """

    name: str
    wires: tuple[int, ...]


@dataclass(frozen=True)
class BasisCircuit:
    """How a basis is prepared.

    Attributes:
        letters: the Pauli of each wire, x, y or z, in whose eigenstates the wires start.
        gates: what follows.
    """

    letters: tuple[str, ...]
    gates: tuple[Gate, ...]

    @property
    def num_cz(self) -> int:
        """How many CZ there are."""
        return sum(gate.name == "cz" for gate in self.gates)


def cheapest_circuits(num_wires: int, edges: Iterable[Edge]) -> dict[Basis, BasisCircuit]:
    """For every basis that can be reached a circuit with the fewest CZ on these edges, and of those the fewest gates.

    A breadth-first search, level by level in the number of CZ.
    """
    found: dict[Basis, BasisCircuit] = {}
    level: list[tuple[Basis, BasisCircuit]] = []
    for letters in product("zxy", repeat=num_wires):
        strings = [_string(letter, wire, num_wires) for wire, letter in enumerate(letters)]
        level.append((_span(strings), BasisCircuit(letters, ())))
    local = [Gate(name, (wire,)) for name in ("h", "s") for wire in range(num_wires)]
    joining = [Gate("cz", edge) for edge in sorted({(min(edge), max(edge)) for edge in edges})]
    while level:
        reached: list[tuple[Basis, BasisCircuit]] = []
        queue = deque(entry for entry in level if entry[0] not in found)
        while queue:
            basis, circuit = queue.popleft()
            if basis in found:
                continue
            found[basis] = circuit
            reached.append((basis, circuit))
            queue.extend(_after(basis, circuit, gate, num_wires) for gate in local)
        level = [_after(basis, circuit, gate, num_wires) for basis, circuit in reached for gate in joining]
    return found


def is_real(basis: Basis, num_wires: int) -> bool:
    """Whether the basis has real vectors: all of its strings have an even number of Y."""
    return all((string >> num_wires & string).bit_count() % 2 == 0 for string in basis)


def cheapest_partition(costs: Sequence[tuple[Basis, int]]) -> list[Basis] | None:
    """Bases that hold every string of all of them exactly once, at the least total cost; None if there are none.

    Args:
        costs: bases, and what each costs.
    """
    everything = frozenset().union(*(basis for basis, _ in costs))
    having = {string: [entry for entry in costs if string in entry[0]] for string in everything}
    best: tuple[int, list[Basis]] | None = None
    for cost, partition in _partitions(everything, having, 0, []):
        if best is None or cost < best[0]:
            best = cost, partition
    return None if best is None else best[1]


def _partitions(
    rest: Basis, having: dict[int, list[tuple[Basis, int]]], cost: int, taken: list[Basis]
) -> Iterator[tuple[int, list[Basis]]]:
    if not rest:
        yield cost, taken
        return
    for basis, price in having[min(rest)]:
        if basis <= rest:
            yield from _partitions(rest - basis, having, cost + price, [*taken, basis])


def _string(letter: str, wire: int, num_wires: int) -> int:
    bit = num_wires - 1 - wire
    x, z = letter in "xy", letter in "yz"
    return (x << num_wires | z) << bit


def _span(strings: Sequence[int]) -> Basis:
    """All products of the strings, without the identity."""
    span = [0]
    for string in strings:
        span += [string ^ other for other in span]
    return frozenset(span[1:])


def _after(basis: Basis, circuit: BasisCircuit, gate: Gate, num_wires: int) -> tuple[Basis, BasisCircuit]:
    """The basis after one more gate (Aaronson, Gottesman, quant-ph/0406196, without the signs)."""
    moved = frozenset(_conjugated(string, gate, num_wires) for string in basis)
    return moved, BasisCircuit(circuit.letters, (*circuit.gates, gate))


def _conjugated(string: int, gate: Gate, num_wires: int) -> int:
    bits = [num_wires - 1 - wire for wire in gate.wires]
    x = [string >> num_wires + bit & 1 for bit in bits]
    z = [string >> bit & 1 for bit in bits]
    if gate.name == "h":
        return string ^ (x[0] ^ z[0]) * (1 << bits[0] | 1 << num_wires + bits[0])
    if gate.name == "s":
        return string ^ x[0] << bits[0]
    return string ^ x[1] << bits[0] ^ x[0] << bits[1]
