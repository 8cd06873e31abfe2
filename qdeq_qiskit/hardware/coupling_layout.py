"""Where the qubits of a processor are drawn, from nothing but which of them are coupled.

Processors are numbered row by row, so that rows are runs of coupled neighbours i, i + 1, and what lies between two rows
hangs on them. Where that gives no drawing with every edge of length one, stress is minimised instead: distances in
the drawing as in the graph (Gansner, Koren, North, Graph Drawing 2004).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from qiskit.transpiler import CouplingMap

_ROUNDS = 300
_APART = 2.0  # between parts that are not connected, in edges

Edge = tuple[int, int]


def qubit_positions(num_qubits: int, edges: Iterable[Edge]) -> np.ndarray:
    """Positions, (N, 2), in units of an edge, y upwards, the first row on top.

    Args:
        num_qubits: N, at least 1.
        edges: pairs of coupled qubits, in any order and direction.
    """
    pairs = {(min(edge), max(edge)) for edge in edges if edge[0] != edge[1]}
    grid = _rows(num_qubits, pairs)
    return _least_stress(num_qubits, pairs) if grid is None else grid


def _rows(num_qubits: int, pairs: set[Edge]) -> np.ndarray | None:
    """Rows by number; None if two qubits would share a place or an edge would not be one long."""
    neighbours: list[set[int]] = [set() for _ in range(num_qubits)]
    for first, second in pairs:
        neighbours[first].add(second)
        neighbours[second].add(first)
    waiting = _runs(num_qubits, pairs)
    places: dict[int, Edge] = {qubit: (x, 0) for x, qubit in enumerate(waiting.pop(0))}
    while waiting:
        for run in waiting:
            hooks = [(x, placed) for x, qubit in enumerate(run) for placed in neighbours[qubit] if placed in places]
            if hooks:
                break
        else:
            return None
        x, placed = hooks[0]
        left, level = places[placed][0] - x, places[placed][1] + 1
        places.update({qubit: (left + step, level) for step, qubit in enumerate(run)})
        waiting.remove(run)
    lengths = {abs(places[a][0] - places[b][0]) + abs(places[a][1] - places[b][1]) for a, b in pairs}
    if lengths - {1} or len(set(places.values())) < num_qubits:
        return None
    return np.array([(places[qubit][0], -places[qubit][1]) for qubit in range(num_qubits)], dtype=float)


def _runs(num_qubits: int, pairs: set[Edge]) -> list[list[int]]:
    """The qubits in order, cut wherever a number and the next are not coupled."""
    runs = [[0]]
    for qubit in range(1, num_qubits):
        if (qubit - 1, qubit) in pairs:
            runs[-1].append(qubit)
        else:
            runs.append([qubit])
    return runs


def _least_stress(num_qubits: int, pairs: set[Edge]) -> np.ndarray:
    """Stress majorised from classical scaling, which is a fixed start: the same drawing every time."""
    graph = CouplingMap([*pairs, *((b, a) for a, b in pairs)])
    for qubit in range(num_qubits):
        if qubit not in graph.physical_qubits:
            graph.add_physical_qubit(qubit)
    distance = np.array(graph.distance_matrix, dtype=float)
    distance[~np.isfinite(distance) | ((distance == 0) & ~np.eye(num_qubits, dtype=bool))] = np.nan
    distance = np.where(np.isnan(distance), np.nanmax(distance, initial=0) + _APART, distance)
    centred = np.eye(num_qubits) - 1 / num_qubits
    values, vectors = np.linalg.eigh(-0.5 * centred @ distance**2 @ centred)
    positions = np.zeros((num_qubits, 2))
    largest = np.argsort(values)[::-1][:2]
    positions[:, : len(largest)] = vectors[:, largest] * np.sqrt(np.clip(values[largest], 0, None))
    # Qubits that classical scaling puts into one place are told apart by a little, always in the same way.
    positions += 1e-3 * np.random.default_rng(0).standard_normal(positions.shape)
    weights = np.where(distance > 0, distance, np.inf) ** -2
    laplacian = np.diag(weights.sum(1)) - weights
    inverse = np.linalg.pinv(laplacian)
    for _ in range(_ROUNDS):
        apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
        pull = -weights * distance / np.where(apart > 0, apart, np.inf)
        np.fill_diagonal(pull, -pull.sum(1))
        positions = inverse @ pull @ positions
    return positions
