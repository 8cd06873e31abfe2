"""Amplitude-encoded maps of different operators, reduced, as one batch: each row has quadratic forms of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from qdeq_qiskit.backends.maps.quadratic import ReducedQuadraticMap
from qdeq_qiskit.equilibrium import FixedPointMap


@final
class JoinedQuadraticMap(FixedPointMap):
    r"""Several `ReducedQuadraticMap`, one after another, solved as one batch of B samples in all.

    Args:
        gram: 2 G of each sample's K outputs, and of the norm as the last one, stacked, (B, (K+1) n, n).
        samples: 2 g in the order of `gram`, the K+1 constants, and the offset that makes u of w, one row a sample,
            (B, (K+1)(n+1) + n).
    """

    def __init__(self, gram: Tensor, samples: Tensor) -> None:
        rows, states = gram.shape[1:]
        self._gram = gram
        self._samples = samples
        self._linear, self._constant, self._offset = samples.split((rows, rows // states, states), dim=1)

    @classmethod
    def of(cls, maps: Sequence[ReducedQuadraticMap]) -> JoinedQuadraticMap:
        """Maps of the same size and precision, B₁, B₂, … samples, one after another."""
        grams, tables = zip(*(each.inputs for each in maps), strict=True)
        counts = torch.tensor([table.shape[1] for table in tables], device=grams[0].device)
        return cls(torch.stack(grams).repeat_interleave(counts, dim=0), torch.cat(tables, dim=1).T.contiguous())

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._gram, self._samples

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> JoinedQuadraticMap:
        return JoinedQuadraticMap(*inputs)

    def select(self, rows: Tensor) -> JoinedQuadraticMap:
        return JoinedQuadraticMap(self._gram.index_select(0, rows), self._samples.index_select(0, rows))

    def value(self, w: Tensor) -> Tensor:
        return self._evaluate(w)[2]

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        slopes, norm, value = self._evaluate(w)
        # of the quotient q_k = N_k / N: (∂N_k − q_k ∂N) / N
        return value, (slopes[:, :-1] - value.unsqueeze(2) * slopes[:, -1:]) / norm.unsqueeze(2)

    def _evaluate(self, w: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """∂/∂w of the forms, (B, K+1, n), vᵀv, (B, 1), and q, (B, K)."""
        u = w + self._offset
        slopes = torch.baddbmm(self._linear.unsqueeze(2), self._gram, u.unsqueeze(2)).squeeze(2)
        shape = (len(u), self._constant.shape[1], u.shape[1])
        forms = self._constant + 0.5 * ((slopes + self._linear).view(shape) @ u.unsqueeze(2)).squeeze(2)
        norm = forms[:, -1:]
        return slopes.view(shape), norm, forms[:, :-1] / norm
