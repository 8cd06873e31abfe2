"""Where qubits are drawn: whatever the processor, neighbours stand beside one another and nobody on another."""

from __future__ import annotations

import numpy as np
import pytest

from qdeq_qiskit.hardware.coupling_layout import qubit_positions
from qdeq_qiskit.noise.snapshots import Snapshot


def drawn(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a fake processor's qubits, and the lengths of its edges in the drawing."""
    target = Snapshot.fake(name).target
    edges = list(target.build_coupling_map().get_edges())
    positions = qubit_positions(target.num_qubits, edges)
    lengths = np.array([np.linalg.norm(positions[a] - positions[b]) for a, b in edges])
    return positions, lengths


def closest(positions: np.ndarray) -> float:
    apart = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    return float(apart[~np.eye(len(positions), dtype=bool)].min())


@pytest.mark.parametrize(
    "name", ["fake_torino", "fake_fez", "fake_brisbane", "fake_miami", "fake_manila", "fake_jakarta", "fake_guadalupe"]
)
def test_on_ibms_processors_every_edge_is_one_long_and_no_two_qubits_share_a_place(name: str) -> None:
    positions, lengths = drawn(name)
    np.testing.assert_allclose(lengths, 1)
    assert closest(positions) >= 1


def test_the_first_row_of_a_heavy_hex_is_on_top_from_left_to_right() -> None:
    positions, _ = drawn("fake_torino")
    np.testing.assert_array_equal(positions[:15, 0], np.arange(15))
    assert (positions[:15, 1] == 0).all()
    assert (positions[15:, 1] < 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_numbers_are_drawn_by_distance_with_neighbours_still_beside_one_another(seed: int) -> None:
    target = Snapshot.fake("fake_fez").target
    new = np.random.default_rng(seed).permutation(target.num_qubits)
    edges = [(int(new[a]), int(new[b])) for a, b in target.build_coupling_map().get_edges()]
    positions = qubit_positions(target.num_qubits, edges)
    lengths = np.array([np.linalg.norm(positions[a] - positions[b]) for a, b in edges])
    assert lengths.max() < 2.5 * lengths.min()
    assert closest(positions) > 0.5 * lengths.min()


def test_parts_that_are_not_connected_and_a_single_qubit_are_drawn_too() -> None:
    positions = qubit_positions(5, [(0, 1), (3, 4)])
    assert closest(positions) > 0.5
    assert qubit_positions(1, []).shape == (1, 2)


def test_a_star_is_no_grid_and_its_rays_are_equally_long() -> None:
    positions = qubit_positions(6, [(0, ray) for ray in range(1, 6)])
    lengths = np.linalg.norm(positions[1:] - positions[0], axis=1)
    assert lengths.max() < 1.4 * lengths.min()
    assert closest(positions) > 0.5
