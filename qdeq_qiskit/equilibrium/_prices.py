"""What a sample's measurements take in shots, and what its budget leaves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import torch
from torch import Tensor

from ._map import FixedPointMap
from .solvers.sampled import SampledSolver

_UNLIMITED = 2**60

_STEPS_PER_OCTAVE = 4
"""Counts of shots are those of an evaluation times powers of 2^¼, so that samples share calls."""


@dataclass(frozen=True)
class Prices:
    """Shots over all circuits of one sample; all zero where f is exact.

    Attributes:
        shots: of each circuit of one evaluation, unless more are wanted.
        jacobian_shots: of each circuit of the first Jacobian.
        circuits_per_value: circuits of one evaluation.
        circuits_per_jacobian: circuits of one Jacobian; 0 for one that is not measured.
        budget: the most that one sample may spend.
        shots_per_call: what a call costs beside its shots, in shots.
    """

    shots: int
    jacobian_shots: int
    circuits_per_value: int
    circuits_per_jacobian: int
    budget: int
    shots_per_call: int = 0

    @classmethod
    def of(cls, fixed_point_map: FixedPointMap, solver: SampledSolver) -> Self:
        """Those of a map.

        Raises:
            ValueError: the solver's budget is below what the least search and estimate take.
        """
        if not fixed_point_map.is_sampled:
            return cls(1, 1, 0, 0, _UNLIMITED)
        cost = fixed_point_map.cost
        solver.check_price(cost)
        return cls(
            shots=cost.shots_per_circuit,
            jacobian_shots=solver.jacobian_shots or cost.shots_per_circuit,
            circuits_per_value=cost.circuits_per_value,
            circuits_per_jacobian=cost.circuits_per_jacobian if solver.jacobian == "measured" else 0,
            budget=_UNLIMITED if solver.max_shots is None else min(solver.max_shots, _UNLIMITED),
            shots_per_call=cost.shots_per_call,
        )

    @property
    def reserve(self) -> int:
        """What the least estimate takes, which the search must leave."""
        return self.value(self.shots) + self.jacobian(self.jacobian_shots)

    def value(self, shots: int) -> int:
        """What an evaluation with so many shots a circuit takes."""
        return self.circuits_per_value * shots

    def jacobian(self, shots: int) -> int:
        """What a Jacobian with so many shots a circuit takes."""
        return self.circuits_per_jacobian * shots

    def affordable(self, spent: Tensor) -> Tensor:
        """Shots a circuit, (M,), with which samples that will have spent so much can be evaluated once."""
        # Double: in single precision a large budget would be rounded up.
        return (self.budget - spent).double() / max(self.circuits_per_value, 1)

    def in_fewer_calls(self, shots: Tensor, most: Tensor) -> Tensor:
        """The same counts of shots a circuit, (M,), some of them raised to the next one where that saves a call.

        A call evaluates samples with one count of shots. Raising a count pays if the further shots of all its samples
        take no longer than the call that is saved.

        Args:
            shots: of each sample, (M,).
            most: what each sample can afford at most, (M,).
        """
        if not self.shots_per_call:
            return shots
        shots = shots.clone()
        counts = torch.unique(shots).tolist()
        for count, higher in pairwise(counts):
            members = shots == count
            further = (higher - count) * int(members.sum()) * max(self.circuits_per_value, 1)
            if further <= self.shots_per_call and bool((most[members] >= higher).all()):
                shots[members] = higher
        return shots


def on_grid(shots: Tensor, unit: int, round_to: Callable[[Tensor], Tensor]) -> Tensor:
    """The next count on the grid, by `torch.ceil` or `torch.floor`; counts that are on it stay."""
    place = (shots.double().clamp(min=1) / unit).log2() * _STEPS_PER_OCTAVE
    nearest = place.round()
    place = torch.where((place - nearest).abs() < 1e-6, nearest, round_to(place))
    count = (unit * torch.exp2(place / _STEPS_PER_OCTAVE) + 1e-6).floor().long()
    if round_to is torch.floor:  # a large count may have been taken for the next one on the grid
        count = torch.minimum(count, shots.long())
    return count.clamp(min=1)
