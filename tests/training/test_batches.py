"""Batches as slices."""

from __future__ import annotations

import pytest
import torch

from qdeq_qiskit.training.batches import Batches, epoch_seed


@pytest.fixture
def data() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(20.0).reshape(10, 2), torch.arange(10)


def test_an_epoch_holds_every_sample_once_with_its_own_label(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    batches = list(Batches(*data, batch_size=4, seed=1))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    labels = torch.cat([labels for _, labels in batches])
    assert sorted(labels.tolist()) == list(range(10))
    assert not torch.equal(labels, torch.arange(10))
    for features, part in batches:
        torch.testing.assert_close(features, data[0][part])


def test_the_order_is_a_function_of_seed_and_epoch_alone(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = Batches(*data, batch_size=3, seed=seed)
        torch.rand(epoch + 1)  # what else was drawn does not matter
        batches.set_epoch(epoch)
        return torch.cat([labels for _, labels in batches]).tolist()

    assert order(1, 5) == order(1, 5)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1, 2) for epoch in (0, 1, 2)}) == 9


def test_the_epoch_counts_even_if_it_is_set_after_the_iterator_was_made(
    data: tuple[torch.Tensor, torch.Tensor],
) -> None:
    batches = Batches(*data, batch_size=10, seed=1)
    batches.set_epoch(7)
    expected = next(iter(batches))[1]
    batches.set_epoch(0)
    iterator = iter(batches)
    batches.set_epoch(7)
    assert torch.equal(next(iterator)[1], expected)


def test_without_a_seed_the_order_stays(data: tuple[torch.Tensor, torch.Tensor]) -> None:
    batches = Batches(*data, batch_size=100)
    assert len(batches) == 1
    assert torch.equal(next(iter(batches))[1], data[1])


def test_epoch_seeds_do_not_collide() -> None:
    seeds = {epoch_seed(seed, epoch) for seed in range(50) for epoch in range(200)}
    assert len(seeds) == 50 * 200
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_of_nothing_is_refused(data: tuple[torch.Tensor, torch.Tensor], size: int) -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        Batches(*data, batch_size=size)
