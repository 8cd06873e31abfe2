"""How far equilibria moved, and which of them are other roots; the states are made up, so the answers are known."""

from __future__ import annotations

import numpy as np
import pytest

from qdeq_qiskit.training.displacement import Followed, displacement
from qdeq_qiskit.training.evaluation import Evaluation


def evaluation(state: list[list[float]], converged: list[bool], half_width: list[float] | None = None) -> Evaluation:
    count, none = len(state), np.zeros(0)
    return Evaluation(
        labels=np.zeros(count, dtype=int),
        probabilities=np.ones((count, 2)) / 2,
        state=np.array(state),
        residual=np.full(count, 1e-5),
        iterations=np.ones(count),
        evaluations=np.ones(count),
        converged=np.array(converged),
        radius=none,
        trace=np.zeros((0, 0)),
        circuits=0,
        shots=0,
        seconds=0.0,
        half_width=none if half_width is None else np.array(half_width),
    )


HERE = evaluation([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]], [True, True, True, False])
THERE = evaluation([[0.7, 0.4], [0.0, 0.8], [-1.0, 0.0], [0.7, 0.4]], [True, True, True, True])
# The noisy map's root has moved along for the first two; for the third the solver found one on the other side.
LED_TO = Followed(np.array([[0.7, 0.4], [0.0, 0.8], [0.9, 0.0], [0.7, 0.4]]), np.array([True, True, True, True]))


def test_a_root_that_noise_has_moved_far_is_the_same_root() -> None:
    moved = displacement(HERE, THERE, tolerance=1e-4, followed=LED_TO)
    np.testing.assert_allclose(moved.distance, [0.5, 0.2])
    assert (moved.branch_changes, moved.not_compared) == (1, 1)


def test_on_one_map_a_root_is_expected_where_it_was() -> None:
    moved = displacement(HERE, THERE, tolerance=1e-4)
    assert (moved.branch_changes, moved.not_compared) == (3, 1)
    assert moved.quartiles() is None


def test_where_the_expected_root_was_not_found_nothing_is_compared() -> None:
    lost = Followed(LED_TO.state, np.array([False, True, True, True]))
    moved = displacement(HERE, THERE, tolerance=1e-4, followed=lost)
    assert (moved.branch_changes, moved.not_compared) == (1, 2)


def test_an_estimate_is_another_root_beyond_its_interval_alone() -> None:
    estimate = evaluation([[1.02, 0.0], [0.0, 1.07], [1.0, 0.0], [1.0, 0.0]], [True] * 4, [0.02, 0.02, np.nan, 0.02])
    moved = displacement(HERE, estimate, tolerance=1e-4)
    # Three half-widths are 0.06; the third sample has no estimate, the fourth no root to compare with.
    np.testing.assert_allclose(moved.distance, [0.02])
    assert (moved.branch_changes, moved.not_compared) == (1, 2)


def test_without_roots_all_distances_count_also_in_z() -> None:
    lift = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    moved = displacement(HERE, THERE, tolerance=None, lift=lift)
    np.testing.assert_allclose(moved.distance, [0.5, 0.2, 2.0, 0.5])
    np.testing.assert_allclose(moved.lifted, np.sqrt(2) * moved.distance)
    assert moved.quartiles(lifted=True) == pytest.approx(np.sqrt(2) * np.array([0.425, 0.5, 0.875]))
    assert moved.figures() == {"median_displacement": 0.5}
