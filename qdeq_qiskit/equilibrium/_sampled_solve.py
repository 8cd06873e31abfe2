"""The driver of the statistical solver: search until the residual is noise, average, estimate from fresh shots.

The statistics are those of `SampledSolver`. Every sample goes its own way; each phase evaluates those samples only
that are in it, with their own counts of shots, and stops a sample before it would spend more than its budget. A step
of the search is taken only if the map's own budget then still pays the least estimate of all samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._map import FixedPointMap, MeasuredJacobian
from ._noiseless import NoiselessModel
from ._prices import on_grid
from ._reason import Reason
from ._root import Root
from ._sampled_state import SampledState
from .solvers import Evaluation
from .solvers.sampled import SampledSolver

NORMAL_95 = 1.959963984540054
"""The 95% interval of a normal distribution is its mean ± so many standard deviations."""

_FAR = 9.0
"""A step longer than this, in variances of the estimate, is where f may not be linear: it is estimated again."""

_WIDEST = 1e3
"""An estimate with a wider 95% half-width than so many times max(1, ‖w‖) says nothing: states are bounded."""

_MOST_ESTIMATES = 40

_MODELLED_SHARE = 0.1
"""An estimate that owes more of its variance to the error of a noiseless Jacobian is made again, if it is among the
first `_MODELLED_ESTIMATES`."""

_MODELLED_ESTIMATES = 2

_MARGIN = 1.1
"""How many times the shots that a predicted covariance asks for are taken: it is not quite the one that comes out."""


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
        if run.model is None:
            run.search()
            run.rescue()
            run.average()
        else:
            run.approach(run.model)
        run.estimate()
        return run.root()


class _Run(SampledState):
    """The phases."""

    def search(self) -> None:
        """Damped steps, for each sample until its residual is within its noise."""
        rows = self._able_to_begin()
        for iteration in range(self.solver.max_iterations + 1):
            rows = self._look(rows) if len(rows) else rows
            if not len(rows) or iteration == self.solver.max_iterations:
                break
            rows = self.affordable(rows, self.prices.reserve + self.prices.value(self.prices.shots))
            if not self.leaves_an_estimate(len(rows)):
                self.curtailed = True
                break
            self._damped_step(rows, iteration)
        self.stable = self.reason == int(Reason.WITHIN_NOISE)

    def approach(self, model: NoiselessModel) -> None:
        """The model's fixed points, of which those of the scaled model are near the ones that are sought."""
        rows = self._able_to_begin()
        if not len(rows):
            return
        self.w[rows] = model.root(rows, self.w[rows])
        self._look(rows)
        rows = rows[self.relative[rows].isfinite()]
        self.w[rows] = model.root(rows, self.w[rows])
        self.iterations[rows] += 1
        self.reason[rows] = int(Reason.WITHIN_NOISE)  # if they are not, the estimate's own step says so

    def rescue(self) -> None:
        """Newton steps with measured Jacobians, for those that damped steps did not bring into the noise."""
        for _ in range(self.solver.newton_steps):
            rows = self._unsettled()
            price = self.prices.value(self.prices.shots) + self.prices.jacobian(self.prices.jacobian_shots)
            rows = self.affordable(rows, self.prices.reserve + price)
            if not len(rows):
                return
            if not self.leaves_an_estimate(len(rows), jacobian=True):
                self.curtailed = True
                return
            self.newton_step(rows, self.measure_jacobian(rows, self.prices.jacobian_shots).jacobian)
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
            if not len(active) or not self.leaves_an_estimate(len(active)):
                active = active[:0]
                break
            noise[active] = self.evaluate(active, self.prices.shots).diagonal(dim1=1, dim2=2).sum(1)
        drift = (self.w[rows] - first[rows]) / (self.solver.damping * count[rows].unsqueeze(1))
        going = drift.square().sum(1) > self.solver.c * noise[rows] / count[rows]
        able = torch.isin(rows, active) & going
        done = rows[~able]
        self.w[done] = total[done] / count[done].unsqueeze(1)
        return able

    def estimate(self) -> None:
        """Fresh shots where each sample has come to, one Newton step from them, and its covariance."""
        if self.curtailed:  # they have come as far as there was time for
            self.reason[self._unsettled()] = int(Reason.WITHIN_NOISE)
        rows = (self.reason == int(Reason.WITHIN_NOISE)).nonzero().squeeze(1)
        rows, shots = self._within_means(rows, self._first_shots(rows))
        bound = torch.full_like(rows, _FAR, dtype=torch.double)
        for attempt in range(_MOST_ESTIMATES):
            if not len(rows):
                return
            value, covariance, measured = self._fresh(rows, shots)
            finite = (
                torch.cat([each.flatten(1) for each in (value, covariance, measured.jacobian)], 1).isfinite().all(1)
            )
            w, covariance, length, modelled = self._newton_estimate(rows, value, covariance, measured)
            # In double precision, where it is finite although the sample's own precision may have no such number.
            half = (NORMAL_95 * covariance.diagonal(dim1=1, dim2=2).amax(1).sqrt()).nan_to_num(nan=torch.inf)
            wide = finite & ~(half <= _WIDEST * torch.linalg.vector_norm(self.w[rows], dim=1).double().clamp(min=1))
            good = finite & ~wide
            self.reason[rows[~finite]] = int(Reason.DIVERGED)
            self.w[rows[good]], self.covariance[rows[good]] = w[good], covariance[good].to(self.covariance)
            self.covariance[rows[wide]] = torch.nan
            self.iterations[rows[good]] += 1
            far = length > bound
            if attempt < _MODELLED_ESTIMATES:
                far |= modelled > _MODELLED_SHARE
            more, next_shots = self._next_shots(rows, shots, half.where(finite, 0.0), far=good & far)
            self.reason[rows[wide & ~more]] = int(Reason.UNDETERMINED)
            bound = (_FAR * next_shots / shots)[more]
            going = rows[more]
            rows, shots = self._within_means(going, next_shots[more], at_least=next_shots[more])
            bound = bound[: len(rows)]
        self.reason[rows] = int(Reason.MAX_ITERATIONS)

    def _fresh(self, rows: Tensor, shots: Tensor) -> tuple[Tensor, Tensor, MeasuredJacobian]:
        """What an estimate is made of: value, (M, n), its covariance, (M, n, n), and the Jacobian."""
        if self.model is not None:
            modelled = self.model.jacobian(rows, self.w[rows])  # of what was measured before
            return *self.evaluate_each(rows, shots), self.model.with_error(modelled)
        value, covariance = self.evaluate_each(rows, shots)
        return value, covariance, self.measure_jacobian_each(rows, self.jacobian_shots_beside(shots))

    def _first_shots(self, rows: Tensor) -> Tensor:
        """Shots a circuit of the samples' first estimates, (M,)."""
        first = torch.full_like(rows, self.solver.estimate * self.prices.shots)
        if self.model is not None and self.solver.precision is not None and len(rows):
            # J is known beforehand, and with it how wide an interval will be.
            inverse = self.spectrum(rows, self.model.jacobian(rows, self.w[rows]).jacobian).inverse
            spread = inverse @ self.noise[rows].double() @ inverse.mT
            half = (NORMAL_95 * spread.diagonal(dim1=1, dim2=2).amax(1).sqrt()).nan_to_num(nan=torch.inf)
            needed = self.prices.shots * _MARGIN * (half / self.solver.precision).square()
            needed = torch.minimum(needed, self.solver.growth * first.double()).clamp(min=self.prices.shots)
            first = on_grid(needed, self.prices.shots, torch.ceil)
        left = self.prices.affordable(self.shots[rows] + self.prices.jacobian(self.prices.jacobian_shots))
        shots = torch.where(left < first, on_grid(left, self.prices.shots, torch.floor), first)
        return self.prices.in_fewer_calls(shots, left)

    def _within_means(self, rows: Tensor, shots: Tensor, *, at_least: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The samples and their shots, (M,), as far as the map's budget can pay for them.

        Shots are halved first, but not below `at_least`, (M,), or those of a single evaluation; then samples are left
        out, from the end.
        """
        least = torch.minimum(shots, torch.full_like(shots, self.prices.shots)) if at_least is None else at_least
        wanted = shots
        while (
            not self.exact
            and len(rows)
            and not self.map.affords(self.estimate_of(shots))
            and bool((shots > least).any())
        ):
            shots = torch.maximum(shots // 2, least)
        self.reduced[rows] = shots < wanted
        rows = self.payable(rows, lambda count: self.estimate_of(shots[:count]))
        return rows, shots[: len(rows)]

    def _able_to_begin(self) -> Tensor:
        """The samples that the map's budget pays one evaluation and the least estimate of; the others end here."""
        everyone = torch.arange(len(self.w), device=self.w.device)
        return self.payable(everyone, lambda count: [self.planned_look(count), *self.least_estimate(count)])

    def _unsettled(self) -> Tensor:
        """The samples that are not within their noise yet, and may still get there."""
        return ((self.reason == int(Reason.MAX_ITERATIONS)) & self.relative.isfinite()).nonzero().squeeze(1)

    def _look(self, rows: Tensor) -> Tensor:
        """Evaluates samples where they are, notes which have arrived, and returns the others that may go on."""
        covariance = self.evaluate(rows, self.prices.shots)
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

    def _newton_estimate(
        self, rows: Tensor, value: Tensor, covariance: Tensor, measured: MeasuredJacobian
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """ŵ + (I − J)⁻¹ (f̄ − ŵ), (M, n), its covariance, (M, n, n), and two figures of each, (M,).

        These are the step's mean square, in its variances, and the share of the variance that is due to a model's
        Jacobian: such an error is the same for all repetitions, but from the estimate another step is shorter, and so
        is its error. Covariance and figures are in double precision.

        Where the floor acts, it shortens the step, but not the covariance: that remains the one of the whole step,
        since what the floor holds back is then part of the error.
        """
        spectrum = self.spectrum(rows, measured.jacobian)
        start = self.w[rows]
        difference = (value - start).double().unsqueeze(2)
        inverse = spectrum.inverse
        whole = (inverse @ difference).squeeze(2)
        of_jacobian = measured.double().error_along(whole)
        self.jacobian[rows] = spectrum.floored_jacobian.to(self.jacobian)
        step = (spectrum.floored_inverse @ difference).squeeze(2)
        if self.model is not None:
            bend = self.model.bend(rows, start, step, measured.jacobian)
            of_jacobian = of_jacobian + bend.unsqueeze(2) * bend.unsqueeze(1)
        spread = inverse @ (covariance.double() + of_jacobian) @ inverse.mT
        length = (whole * torch.linalg.solve_ex(spread, whole)[0]).sum(1) / whole.shape[1]
        modelled = torch.zeros_like(length)
        if self.model is not None:
            share = inverse @ of_jacobian @ inverse.mT
            modelled = share.diagonal(dim1=1, dim2=2).sum(1) / spread.diagonal(dim1=1, dim2=2).sum(1)
        return start + step.to(self.w), spread, length, modelled

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
        beside = self.jacobian_shots_beside(wanted) * self.prices.jacobian(1)
        left = self.prices.affordable(self.shots[rows] + beside)
        possible = torch.minimum(wanted, on_grid(left, self.prices.shots, torch.floor))
        more = (left >= self.prices.shots) & (short & (possible > shots) | far & ~short & (possible >= wanted))
        self.reason[rows[(short | far) & ~more]] = int(Reason.BUDGET)
        possible[more] = self.prices.in_fewer_calls(possible[more], left[more])
        return more, possible

    def _damped_step(self, rows: Tensor, iteration: int) -> None:
        w = self.w[rows]
        now = Evaluation(iteration, 0, w, self.value[rows] - w, self.relative[rows], None)
        self.w[rows] = self.solver.step(now, ())[0]
        self.iterations[rows] += 1
