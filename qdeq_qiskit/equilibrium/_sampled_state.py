"""What is known of every sample while the statistical solver works on them, and how more is measured."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ._map import FixedPointMap, MeasuredJacobian, PlannedCall
from ._noiseless import NoiselessModel
from ._prices import Prices
from ._reason import Reason
from ._root import Root, checked_value
from ._spectrum import Spectrum
from .solvers.sampled import SampledSolver


class SampledState:
    """What is known of every sample, in the batch's own numbering; all tensors have a leading axis of B samples.

    Args:
        fixed_point_map: the map, frozen.
        start: the first iterate, (B, n).
        solver: the options.
        trace: whether `Root.trace` is wanted.

    Raises:
        ValueError: a budget of shots is below what the least search and estimate take, or a noiseless Jacobian is
            wanted and there is none.
    """

    def __init__(self, fixed_point_map: FixedPointMap, start: Tensor, solver: SampledSolver, *, trace: bool) -> None:
        samples, n = start.shape
        self.map, self.solver = fixed_point_map, solver
        self.exact = not fixed_point_map.is_sampled
        self.prices = Prices.of(fixed_point_map, solver)
        self.model: NoiselessModel | None = None
        if solver.jacobian == "noiseless" and not self.exact:
            self.model = NoiselessModel(_noiseless_map(fixed_point_map), n, error=solver.jacobian_error)
        count = torch.zeros(samples, dtype=torch.int64, device=start.device)
        self.w = start.clone()
        self.residual = start.new_full((samples,), torch.inf)
        self.relative = self.residual.clone()
        self.best = (self.w.clone(), self.residual.clone(), self.relative.clone())
        self.value = torch.full_like(start, torch.nan)
        self.noise = start.new_full((samples, n, n), torch.nan)  # covariance of the value measured last
        self.covariance = self.noise.clone()
        self.jacobian = self.covariance.clone()
        self.reason = torch.full_like(count, int(Reason.MAX_ITERATIONS))
        self.iterations, self.evaluations, self.jacobian_evaluations = count.clone(), count.clone(), count.clone()
        self.shots = count.clone()
        self.floored = torch.zeros(samples, dtype=torch.bool, device=start.device)
        self.stable = self.floored.clone()  # whether damped steps led into the noise
        self.reduced = self.floored.clone()  # whether the map's budget did not pay the estimate that was asked for
        self.curtailed = False  # whether it ended the search
        self.trace: list[Tensor] | None = [] if trace else None

    def root(self) -> Root:
        """The answers."""
        if self.solver.precision is None:  # else the reason has been found in the width
            self.reason[self.reduced & (self.reason == int(Reason.WITHIN_NOISE))] = int(Reason.BUDGET)
        converged = (self.reason == int(Reason.CONVERGED)) | (self.reason == int(Reason.WITHIN_NOISE))
        # A sample without an estimate is answered by its best iterate.
        known = self.covariance.isfinite().all(2).all(1)
        return Root(
            w=torch.where(known.unsqueeze(1), self.w, self.best[0]),
            residual=torch.where(known, self.residual, self.best[1]),
            relative_residual=torch.where(known, self.relative, self.best[2]),
            iterations=self.iterations,
            evaluations=self.evaluations,
            jacobian_evaluations=self.jacobian_evaluations,
            converged=converged,
            reason=self.reason,
            unconverged=len(converged) - int(torch.count_nonzero(converged)),
            jacobian=None if self.exact else self.jacobian,
            trace=self.trace,
            covariance=self.covariance,
            shots=self.shots,
            floored=self.floored,
        )

    def evaluate(self, rows: Tensor, shots: int) -> Tensor:
        """f at the samples' iterates, with what is measured of it; returns its covariance, (M, n, n)."""
        w = self.w[rows]
        value, covariance = self._part(rows).measure(w, shots=None if self.exact else shots)
        value = checked_value(value, w)
        residual = torch.linalg.vector_norm(value - w, dim=1)
        relative = residual / (torch.linalg.vector_norm(value, dim=1) + torch.finfo(w.dtype).tiny ** 0.5)
        better = relative < self.best[2][rows]  # never so where it is NaN
        for best, now in zip(self.best, (w, residual, relative), strict=True):
            best[rows[better]] = now[better]
        self.value[rows] = value
        self.residual[rows] = torch.where(residual.isnan(), torch.inf, residual)
        self.relative[rows] = torch.where(relative.isnan(), torch.inf, relative)
        self.noise[rows] = covariance
        self.evaluations[rows] += 1
        self.shots[rows] += self.prices.value(shots)
        if self.model is not None:
            self.model.learn(rows, w, value, covariance)
        return covariance

    def evaluate_each(self, rows: Tensor, shots: Tensor) -> tuple[Tensor, Tensor]:
        """The same with counts of shots for each sample, (M,): value, (M, n), and covariance, (M, n, n)."""
        value, covariance = torch.empty_like(self.w[rows]), torch.empty_like(self.covariance[rows])
        for count in torch.unique(shots).tolist():
            chosen = shots == count
            covariance[chosen] = self.evaluate(rows[chosen], count)
            value[chosen] = self.value[rows[chosen]]
        return value, covariance

    def measure_jacobian(self, rows: Tensor, shots: int) -> MeasuredJacobian:
        """∂f/∂w at the samples' iterates, where f was evaluated last."""
        measured = self._part(rows).measure_jacobian(
            self.w[rows], self.value[rows], shots=None if self.exact else shots
        )
        self.jacobian_evaluations[rows] += 1
        self.shots[rows] += self.prices.jacobian(shots)
        return measured

    def measure_jacobian_each(self, rows: Tensor, shots: Tensor) -> MeasuredJacobian:
        """The same with counts of shots for each sample, (M,)."""
        counts = torch.unique(shots).tolist()
        places = [(shots == count).nonzero().squeeze(1) for count in counts]
        parts = [self.measure_jacobian(rows[place], count) for place, count in zip(places, counts, strict=True)]
        return MeasuredJacobian.joined(parts).select(torch.cat(places).argsort())

    def newton_step(self, rows: Tensor, jacobian: Tensor) -> None:
        """w ← w + (I − J)⁻¹ (f(w) − w), f being what was measured last."""
        inverse = self.spectrum(rows, jacobian).floored_inverse
        step = (inverse @ (self.value[rows] - self.w[rows]).double().unsqueeze(2)).squeeze(2)
        self.w[rows] = self.w[rows] + step.to(self.w)
        self.iterations[rows] += 1

    def spectrum(self, rows: Tensor, jacobian: Tensor) -> Spectrum:
        """That of I − J; notes where the floor acts."""
        spectrum = Spectrum.of(jacobian, self.solver.floor)
        self.floored[rows] |= spectrum.acted
        return spectrum

    def affordable(self, rows: Tensor, price: int) -> Tensor:
        """The samples whose own budget of shots can still pay; the others end here."""
        able = self.shots[rows] + price <= self.prices.budget
        self.reason[rows[~able]] = int(Reason.BUDGET)
        return rows[able]

    def leaves_an_estimate(self, samples: int, *, jacobian: bool = False) -> bool:
        """Whether, after an evaluation of so many samples, the map's budget still pays the least estimate of all."""
        if self.exact:
            return True
        ended = (self.reason != int(Reason.MAX_ITERATIONS)) & (self.reason != int(Reason.WITHIN_NOISE))
        step = [self.planned_look(samples)]
        if jacobian:
            step.append(self._planned_jacobian(samples, self.prices.jacobian_shots))
        return self.map.affords([*step, *self.least_estimate(int((~ended).sum()))])

    def planned_look(self, samples: int) -> PlannedCall:
        """One evaluation of so many samples."""
        return PlannedCall(samples, shots=self.prices.shots)

    def least_estimate(self, samples: int) -> list[PlannedCall]:
        """What the least estimate of so many samples takes."""
        least = [self.planned_look(samples)]
        if self.model is None:
            least.append(self._planned_jacobian(samples, self.prices.jacobian_shots))
        return least

    def estimate_of(self, shots: Tensor) -> list[PlannedCall]:
        """What an estimate takes with these shots a circuit, (M,)."""
        calls = [PlannedCall(int((shots == count).sum()), shots=count) for count in torch.unique(shots).tolist()]
        if self.model is None:
            beside = self.jacobian_shots_beside(shots)
            counts = torch.unique(beside).tolist()
            calls += [self._planned_jacobian(int((beside == count).sum()), count) for count in counts]
        return calls

    def jacobian_shots_beside(self, shots: Tensor) -> Tensor:
        """Shots of the Jacobian's circuits beside estimates of so many: they grow as the square root.

        An error of J enters the estimate multiplied by the step, which itself gets shorter as shots grow. To keep one
        J would not do: one that noise made nearly singular makes covariances that no number of shots gets down.
        """
        growth = (shots / (self.solver.estimate * self.prices.shots)).clamp(min=1).sqrt()
        return (self.prices.jacobian_shots * growth).long()

    def payable(self, rows: Tensor, least: Callable[[int], list[PlannedCall]]) -> Tensor:
        """The first of the samples, as many as the map's budget can pay this for; the others end here."""
        if self.exact or not len(rows) or self.map.affords(least(len(rows))):
            return rows
        able, unable = 0, len(rows)
        while unable - able > 1:
            middle = (able + unable) // 2
            able, unable = (middle, unable) if self.map.affords(least(middle)) else (able, middle)
        self.reason[rows[able:]] = int(Reason.BUDGET)
        return rows[:able]

    def _planned_jacobian(self, samples: int, shots: int) -> PlannedCall:
        return PlannedCall(samples, value=False, jacobian=True, shots=shots)

    def _part(self, rows: Tensor) -> FixedPointMap:
        return self.map if len(rows) == len(self.w) else self.map.select(rows)


def _noiseless_map(fixed_point_map: FixedPointMap) -> FixedPointMap:
    """The map of the machine without errors.

    Raises:
        ValueError: there is none.
    """
    model = fixed_point_map.noiseless
    if model is None:
        raise ValueError(
            "jacobian='noiseless' needs a layer that knows its noiseless circuit, such as those of the backends with "
            "shots: take jacobian='measured' for this one."
        )
    return model
