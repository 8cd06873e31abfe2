"""Maps with normal noise of known size about known functions, and their fixed points to double precision."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import numpy as np
import torch
from equilibrium_maps import Case, Linear, case
from scipy import optimize
from torch import Tensor

from qdeq_qiskit.equilibrium import FixedPointMap, FunctionMap, MapCost, MeasuredJacobian, PlannedCall

NOISE_LEAVES = 0.8
"""What noise leaves of each value: the noiseless map is f divided by it."""


class NoisyMap(FixedPointMap):
    """f with noise: one evaluation of S shots has the covariance `unit` / S, one entry of its Jacobian 1 / S.

    Counts what is spent on each sample; a sample's number is in the first of the map's inputs' last column. A budget
    is of shots over all samples, `shots_per_call` of them for each call beside its own.
    """

    budget: float = math.inf
    shots_per_call: int = 0

    def __init__(
        self,
        exact: FunctionMap,
        numbers: Tensor,
        *,
        shots: int,
        unit: Tensor,
        seed: int,
        ledger: Tensor,
        generator: torch.Generator | None = None,
    ) -> None:
        self.calls: list[int] = []  # samples of each
        self.exact, self.numbers, self.shots, self.unit, self.ledger = exact, numbers, shots, unit, ledger
        self.generator = generator or torch.Generator().manual_seed(seed)

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self.exact.inputs

    @property
    def cost(self) -> MapCost:
        return MapCost(3, 5, self.shots, self.shots_per_call)

    @property
    def is_sampled(self) -> bool:
        return True

    @property
    def noiseless(self) -> FixedPointMap:
        exact = self.exact
        return FunctionMap(
            lambda w, *inputs: exact.with_inputs(inputs).value(w) / NOISE_LEAVES, exact.inputs, batched=1
        )

    def affords(self, calls: Sequence[PlannedCall]) -> bool:
        price = sum(
            call.samples * (3 * call.value + 5 * call.jacobian) * (call.shots or self.shots) + self.shots_per_call
            for call in calls
        )
        return self.spent() + price <= self.budget

    def spent(self) -> int:
        """Shots over all samples, calls included."""
        return int(self.ledger.sum()) + self.shots_per_call * len(self.calls)

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> NoisyMap:
        return self._with(self.exact.with_inputs(inputs), self.numbers)

    def select(self, rows: Tensor) -> NoisyMap:
        return self._with(self.exact.select(rows), self.numbers[rows])

    def value(self, w: Tensor) -> Tensor:
        return self.measure(w)[0]

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        value = self.value(w)
        return value, self.measure_jacobian(w, value).jacobian

    def measure(self, w: Tensor, *, shots: int | None = None) -> tuple[Tensor, Tensor]:
        taken = shots or self.shots
        self.ledger[self.numbers] += 3 * taken
        self.calls.append(len(w))
        covariance = (self.unit / taken).expand(len(w), -1, -1)
        noise = self._normal(*w.shape) @ torch.linalg.cholesky(self.unit / taken).mT
        return self.exact.value(w) + noise, covariance

    def measure_jacobian(self, w: Tensor, value: Tensor, *, shots: int | None = None) -> MeasuredJacobian:
        taken = shots or self.shots
        self.ledger[self.numbers] += 5 * taken
        self.calls.append(len(w))
        n = w.shape[1]
        jacobian = self.exact.value_and_jacobian(w)[1] + self._normal(len(w), n, n) / math.sqrt(taken)
        identity = torch.eye(n, dtype=w.dtype)
        return MeasuredJacobian(jacobian, identity.expand(len(w), n, n), identity.expand(len(w), n, n, n) / taken)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.double)

    def _with(self, exact: FunctionMap, numbers: Tensor) -> NoisyMap:
        new = copy.copy(self)
        new.exact, new.numbers = exact, numbers
        return new


def problem(name: str) -> Case:
    """One sample of a named case; "unstable" has an eigenvalue of 1.5, from where every damped iteration runs away."""
    if name == "unstable":
        matrix = torch.tensor([[1.5, 0.2], [0.0, -0.3]], dtype=torch.double)
        return Case(Linear(matrix), torch.tensor([[0.1, -0.2]], dtype=torch.double), 2)
    return case(name, samples=1)


def noisy(name: str, *, samples: int, shots: int, seed: int = 0) -> tuple[NoisyMap, Tensor]:
    """So many repetitions of one sample, with correlated noise, and where to start."""
    chosen = problem(name)
    n = chosen.state_size
    x = chosen.x.expand(samples, -1)
    exact = FunctionMap(chosen.layer, (x,), batched=1).frozen()
    unit = 0.5 * torch.eye(n, dtype=torch.double) + 0.3
    assert isinstance(exact, FunctionMap)
    ledger = torch.zeros(samples, dtype=torch.int64)
    numbers = torch.arange(samples)
    fixed_point_map = NoisyMap(exact, numbers, shots=shots, unit=unit, seed=seed, ledger=ledger)
    return fixed_point_map, torch.zeros(samples, n, dtype=torch.double)


def root_of(name: str) -> Tensor:
    """The fixed point, (n,), by scipy."""
    chosen = problem(name)

    def residual(w: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            point = torch.from_numpy(w).unsqueeze(0)
            return (chosen.layer(point, chosen.x) - point)[0].numpy()

    found = optimize.root(residual, np.zeros(chosen.state_size), tol=1e-13)
    assert np.abs(residual(found.x)).max() < 1e-10
    return torch.from_numpy(found.x)
