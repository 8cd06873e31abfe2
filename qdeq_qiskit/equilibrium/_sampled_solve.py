"""The driver of the statistical solver: search until the residual is noise, average, estimate from fresh shots.

The statistics are those of `SampledSolver`. Every sample goes its own way; each phase evaluates those samples only
that are in it, with their own counts of shots, and stops a sample before it would spend more than its budget.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._map import FixedPointMap, MeasuredJacobian
from ._prices import Prices, on_grid
from ._reason import Reason
from ._root import Root, checked_value
from ._spectrum import Spectrum
from .solvers import Evaluation
from .solvers.sampled import SampledSolver

NORMAL_95 = 1.959963984540054
"""The 95% interval of a normal distribution is its mean ± so many standard deviations."""

_FAR = 9.0
"""A step longer than this, in variances of the estimate, is where f may not be linear: it is estimated again."""

_WIDEST = 1e3
"""An estimate with a wider 95% half-width than so many times max(1, ‖w‖) says nothing: states are bounded."""

_MOST_ESTIMATES = 40


def solve_sampled(fixed_point_map: FixedPointMap, start: Tensor, solver: SampledSolver, *, trace: bool = False) -> Root:
    """Estimates the fixed point of every sample of a batch; records no gradient.

    Args:
        fixed_point_map: the map, frozen.
        start: the first iterate, (B, n).
        solver: the options.
        trace: whether `Root.trace` is wanted: of the search.

    Raises:
        ValueError: the budget is below what the least search and estimate take.
    """
    with torch.no_grad():
        run = _Run(fixed_point_map, start, solver, trace=trace)
        run.search()
        run.rescue()
        run.average()
        run.estimate()
        return run.root()


class _Run:
    """What is known of every sample, in the batch's own numbering; all tensors have a leading axis of B samples."""

    def __init__(self, fixed_point_map: FixedPointMap, start: Tensor, solver: SampledSolver, *, trace: bool) -> None:
        samples, n = start.shape
        self.map, self.solver = fixed_point_map, solver
        self.exact = not fixed_point_map.is_sampled
        self.prices = Prices.of(fixed_point_map, solver)
        count = torch.zeros(samples, dtype=torch.int64, device=start.device)
        self.w = start.clone()
        self.residual = start.new_full((samples,), torch.inf)
        self.relative = self.residual.clone()
        self.best = (self.w.clone(), self.residual.clone(), self.relative.clone())
        self.value = torch.full_like(start, torch.nan)
        self.covariance = start.new_full((samples, n, n), torch.nan)
        self.jacobian = self.covariance.clone()
        self.reason = torch.full_like(count, int(Reason.MAX_ITERATIONS))
        self.iterations, self.evaluations, self.jacobian_evaluations = count.clone(), count.clone(), count.clone()
        self.shots = count.clone()
        self.floored = torch.zeros(samples, dtype=torch.bool, device=start.device)
        self.stable = self.floored.clone()  # whether damped steps led into the noise
        self.trace: list[Tensor] | None = [] if trace else None

    def search(self) -> None:
        """Damped steps, for each sample until its residual is within its noise."""
        rows = torch.arange(len(self.w), device=self.w.device)
        for iteration in range(self.solver.max_iterations + 1):
            rows = self._look(rows)
            if not len(rows) or iteration == self.solver.max_iterations:
                break
            rows = self._affordable(rows, self.prices.reserve + self.prices.value(self.prices.shots))
            self._damped_step(rows, iteration)
        self.stable = self.reason == int(Reason.WITHIN_NOISE)

    def rescue(self) -> None:
        """Newton steps with measured Jacobians, for those that damped steps did not bring into the noise."""
        for _ in range(self.solver.newton_steps):
            sought = (self.reason == int(Reason.MAX_ITERATIONS)) & self.relative.isfinite()
            rows = sought.nonzero().squeeze(1)
            price = self.prices.value(self.prices.shots) + self.prices.jacobian(self.prices.jacobian_shots)
            rows = self._affordable(rows, self.prices.reserve + price)
            if not len(rows):
                return
            measured = self._measure_jacobian(rows, self.prices.jacobian_shots)
            inverse = self._spectrum(rows, measured.jacobian).floored_inverse
            step = (inverse @ (self.value[rows] - self.w[rows]).double().unsqueeze(2)).squeeze(2)
            self.w[rows] = self.w[rows] + step.to(self.w)
            self.iterations[rows] += 1
            self._look(rows)

    def average(self) -> None:
        """Further damped steps from where the search ended, in blocks, and the mean of the last block's iterates.

        The steps of a block add up to τ times its residuals. If their mean is larger than the noise of a mean
        allows, by the rule of the search, the sample is still on its way, and another block follows.
        """
        rows = (self.stable & (self.reason == int(Reason.WITHIN_NOISE))).nonzero().squeeze(1)
        if not self.solver.average:
            return
        for _ in range(-(-self.solver.max_iterations // self.solver.average)):
            rows = rows[self._block(rows)]
            if not len(rows):
                return

    def _block(self, rows: Tensor) -> Tensor:
        """One block of averaging from the samples' last values; which of them are still on their way, (M,)."""
        first, total, count = self.w.clone(), torch.zeros_like(self.w), torch.zeros_like(self.iterations)
        noise = torch.zeros_like(self.residual)
        active = rows
        for iteration in range(self.solver.average):
            self._damped_step(active, iteration)
            total[active] += self.w[active]
            count[active] += 1
            price = self.prices.value(self.prices.shots) + self.prices.reserve
            active = active[self.shots[active] + price <= self.prices.budget]
            if not len(active):
                break
            noise[active] = self._evaluate(active, self.prices.shots).diagonal(dim1=1, dim2=2).sum(1)
        drift = (self.w[rows] - first[rows]) / (self.solver.damping * count[rows].unsqueeze(1))
        going = drift.square().sum(1) > self.solver.c * noise[rows] / count[rows]
        able = torch.isin(rows, active) & going
        done = rows[~able]
        self.w[done] = total[done] / count[done].unsqueeze(1)
        return able

    def estimate(self) -> None:
        """Fresh shots where each sample has come to, one Newton step from them, and its covariance."""
        rows = (self.reason == int(Reason.WITHIN_NOISE)).nonzero().squeeze(1)
        first = self.solver.estimate * self.prices.shots
        left = self.prices.affordable(self.shots[rows] + self.prices.jacobian(self.prices.jacobian_shots))
        shots = torch.where(left < first, on_grid(left, self.prices.shots, torch.floor), torch.full_like(rows, first))
        bound = torch.full_like(rows, _FAR, dtype=torch.double)
        for _ in range(_MOST_ESTIMATES):
            if not len(rows):
                return
            value, covariance = self._evaluate_each(rows, shots)
            measured = self._measure_jacobian_each(rows, self._jacobian_shots_beside(shots))
            finite = (
                torch.cat([each.flatten(1) for each in (value, covariance, measured.jacobian)], 1).isfinite().all(1)
            )
            w, covariance, length = self._newton_estimate(rows, value, covariance, measured)
            # In double precision, where it is finite although the sample's own precision may have no such number.
            half = (NORMAL_95 * covariance.diagonal(dim1=1, dim2=2).amax(1).sqrt()).nan_to_num(nan=torch.inf)
            wide = finite & ~(half <= _WIDEST * torch.linalg.vector_norm(self.w[rows], dim=1).double().clamp(min=1))
            good = finite & ~wide
            self.reason[rows[~finite]] = int(Reason.DIVERGED)
            self.w[rows[good]], self.covariance[rows[good]] = w[good], covariance[good].to(self.covariance)
            self.covariance[rows[wide]] = torch.nan
            self.iterations[rows[good]] += 1
            more, next_shots = self._next_shots(rows, shots, half.where(finite, 0.0), far=good & (length > bound))
            self.reason[rows[wide & ~more]] = int(Reason.UNDETERMINED)
            bound = (_FAR * next_shots / shots)[more]
            rows, shots = rows[more], next_shots[more]
        self.reason[rows] = int(Reason.MAX_ITERATIONS)

    def root(self) -> Root:
        """The answers."""
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

    def _look(self, rows: Tensor) -> Tensor:
        """Evaluates samples where they are, notes which have arrived, and returns the others that may go on."""
        covariance = self._evaluate(rows, self.prices.shots)
        noise = covariance.diagonal(dim1=1, dim2=2).sum(1)
        residual, relative = self.residual[rows], self.relative[rows]
        finite = relative.isfinite()
        lost = torch.where(self.evaluations[rows] > 1, int(Reason.DIVERGED), int(Reason.NOT_FINITE))
        reason = torch.where(finite, int(Reason.MAX_ITERATIONS), lost)
        within = finite & (noise > 0) & (residual.square() <= self.solver.c * noise)
        reason = torch.where(within, int(Reason.WITHIN_NOISE), reason)
        solved = finite & (noise == 0) & (relative <= self.solver.tolerance)
        # A few shots whose outcomes are all equal look exact: that is for the estimate to say, from many more.
        reason = torch.where(solved, int(Reason.CONVERGED if self.exact else Reason.WITHIN_NOISE), reason)
        self.reason[rows] = reason
        if self.exact:
            self.covariance[rows[solved]] = 0.0
        if self.trace is not None:
            self.trace.append(self.relative.clone())
        return rows[reason == int(Reason.MAX_ITERATIONS)]

    def _evaluate(self, rows: Tensor, shots: int) -> Tensor:
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
        self.evaluations[rows] += 1
        self.shots[rows] += self.prices.value(shots)
        return covariance

    def _evaluate_each(self, rows: Tensor, shots: Tensor) -> tuple[Tensor, Tensor]:
        """The same with counts of shots for each sample, (M,): value, (M, n), and covariance, (M, n, n)."""
        value, covariance = torch.empty_like(self.w[rows]), torch.empty_like(self.covariance[rows])
        for count in torch.unique(shots).tolist():
            chosen = shots == count
            covariance[chosen] = self._evaluate(rows[chosen], count)
            value[chosen] = self.value[rows[chosen]]
        return value, covariance

    def _measure_jacobian(self, rows: Tensor, shots: int) -> MeasuredJacobian:
        """∂f/∂w at the samples' iterates, where f was evaluated last."""
        measured = self._part(rows).measure_jacobian(
            self.w[rows], self.value[rows], shots=None if self.exact else shots
        )
        self.jacobian_evaluations[rows] += 1
        self.shots[rows] += self.prices.jacobian(shots)
        return measured

    def _measure_jacobian_each(self, rows: Tensor, shots: Tensor) -> MeasuredJacobian:
        """The same with counts of shots for each sample, (M,)."""
        counts = torch.unique(shots).tolist()
        places = [(shots == count).nonzero().squeeze(1) for count in counts]
        parts = [self._measure_jacobian(rows[place], count) for place, count in zip(places, counts, strict=True)]
        return MeasuredJacobian.joined(parts).select(torch.cat(places).argsort())

    def _jacobian_shots_beside(self, shots: Tensor) -> Tensor:
        """Shots of the Jacobian's circuits beside estimates of so many: they grow as the square root.

        An error of J enters the estimate multiplied by the step, which itself gets shorter as shots grow. To keep one
        J would not do: one that noise made nearly singular makes covariances that no number of shots gets down.
        """
        growth = (shots / (self.solver.estimate * self.prices.shots)).clamp(min=1).sqrt()
        return (self.prices.jacobian_shots * growth).long()

    def _newton_estimate(
        self, rows: Tensor, value: Tensor, covariance: Tensor, measured: MeasuredJacobian
    ) -> tuple[Tensor, Tensor, Tensor]:
        """ŵ + (I − J)⁻¹ (f̄ − ŵ), (M, n), its covariance, (M, n, n), and the step's mean square, (M,), in its variances.

        Covariance and mean square are in double precision.

        Where the floor acts, it shortens the step, but not the covariance: that remains the one of the whole step,
        since what the floor holds back is then part of the error.
        """
        spectrum = self._spectrum(rows, measured.jacobian)
        difference = (value - self.w[rows]).double().unsqueeze(2)
        inverse = spectrum.inverse
        whole = (inverse @ difference).squeeze(2)
        noise = covariance.double() + measured.double().error_along(whole)
        self.jacobian[rows] = spectrum.floored_jacobian.to(self.jacobian)
        step = (spectrum.floored_inverse @ difference).squeeze(2)
        spread = inverse @ noise @ inverse.mT
        length = (whole * torch.linalg.solve_ex(spread, whole)[0]).sum(1) / whole.shape[1]
        return self.w[rows] + step.to(self.w), spread, length

    def _spectrum(self, rows: Tensor, jacobian: Tensor) -> Spectrum:
        spectrum = Spectrum.of(jacobian, self.solver.floor)
        self.floored[rows] |= spectrum.acted
        return spectrum

    def _next_shots(self, rows: Tensor, shots: Tensor, width: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Which samples are estimated once more, (M,), and with how many shots; notes whom the budget stops.

        Args:
            rows: the samples.
            shots: what they have just been estimated with, (M,).
            width: their 95% half-widths, (M,), double; 0 for those that are given up.
            far: whether the step was long, (M,).
        """
        wanted, short = shots, torch.zeros_like(far)
        if self.solver.precision is not None:
            short = width > self.solver.precision
            # 5% more than the square-root law asks for: the next covariance is not quite this one.
            needed = shots * (1.05 * (width / self.solver.precision).square()).clamp(max=self.solver.growth)
            # A sample that is only far may have had more than it needs.
            needed = torch.where(short, needed, torch.minimum(needed.clamp(min=self.prices.shots), shots))
            wanted = on_grid(needed, self.prices.shots, torch.ceil)
        beside = self._jacobian_shots_beside(wanted) * self.prices.jacobian(1)
        left = self.prices.affordable(self.shots[rows] + beside)
        possible = torch.minimum(wanted, on_grid(left, self.prices.shots, torch.floor))
        more = (left >= self.prices.shots) & (short & (possible > shots) | far & ~short & (possible >= wanted))
        self.reason[rows[(short | far) & ~more]] = int(Reason.BUDGET)
        return more, possible

    def _damped_step(self, rows: Tensor, iteration: int) -> None:
        w = self.w[rows]
        now = Evaluation(iteration, 0, w, self.value[rows] - w, self.relative[rows], None)
        self.w[rows] = self.solver.step(now, ())[0]
        self.iterations[rows] += 1

    def _affordable(self, rows: Tensor, price: int) -> Tensor:
        """The samples that can still pay; the others end here."""
        able = self.shots[rows] + price <= self.prices.budget
        self.reason[rows[~able]] = int(Reason.BUDGET)
        return rows[able]

    def _part(self, rows: Tensor) -> FixedPointMap:
        return self.map if len(rows) == len(self.w) else self.map.select(rows)
