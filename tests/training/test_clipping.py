"""Clipping of gradients, against torch's own."""

import pytest
import torch
from torch import nn

from qdeq_qiskit.training.clipping import clip_gradients, drop_gradients


@pytest.mark.parametrize("limit", [0.25, 1e3])
def test_gradients_are_clipped_as_torch_clips_them(limit):
    models = []
    for _ in range(2):
        model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2)).double()
        model.requires_grad_(True)
        generator = torch.Generator().manual_seed(0)
        for parameter in list(model.parameters())[:-1]:  # the last one has no gradient
            parameter.grad = torch.randn(parameter.shape, dtype=parameter.dtype, generator=generator)
        models.append(model)
    clip_gradients(models[0].parameters(), limit)
    nn.utils.clip_grad_norm_(models[1].parameters(), limit)
    for ours, torchs in zip(*(list(model.parameters())[:-1] for model in models), strict=True):
        torch.testing.assert_close(ours.grad, torchs.grad, rtol=1e-14, atol=0)
    assert next(reversed(list(models[0].parameters()))).grad is None


def test_without_gradients_nothing_is_clipped():
    parameter = nn.Parameter(torch.ones(2))
    clip_gradients([parameter], 1.0)
    assert parameter.grad is None


def test_dropped_gradients_are_gone():
    parameter = nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    drop_gradients([parameter])
    assert parameter.grad is None
