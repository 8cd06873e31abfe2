"""The driver of every solver: evaluate, measure, keep the best, drop what has converged, count."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._map import FixedPointMap
from ._reason import Reason
from .solvers import Evaluation, Solver, State

CHECK_INTERVAL_ON_ACCELERATOR = 4
"""Iterations between two looks at what has converged: each look makes the host wait for the device."""


@dataclass(frozen=True, eq=False)
class Root:
    """What a solve found, per sample; B samples, n state entries.

    Attributes:
        w: the best finite iterate (or the average, for solvers that average), (B, n).
        residual: ‖f(w) − w‖₂, (B,); infinite where f was never finite.
        relative_residual: the same divided by ‖f(w)‖₂, (B,).
        iterations: steps taken, (B,).
        evaluations: evaluations of f, (B,).
        jacobian_evaluations: evaluations of ∂f/∂w, (B,).
        converged: whether the relative residual is within the tolerance, (B,).
        reason: codes of `Reason`, (B,).
        unconverged: how many samples did not converge.
        jacobian: ∂f/∂w at w, (B, n, n), if the solver had it at hand and it was asked for.
        trace: relative residuals (B,) at each evaluation, if asked for; a sample no longer evaluated keeps its last.
    """

    w: Tensor
    residual: Tensor
    relative_residual: Tensor
    iterations: Tensor
    evaluations: Tensor
    jacobian_evaluations: Tensor
    converged: Tensor
    reason: Tensor
    unconverged: int
    jacobian: Tensor | None
    trace: list[Tensor] | None


def solve(
    fixed_point_map: FixedPointMap,
    start: Tensor,
    solver: Solver,
    *,
    keep_jacobian: bool = False,
    trace: bool = False,
) -> Root:
    """Finds the fixed point of every sample of a batch.

    A sample that has converged is not evaluated again. Nothing of a sample's answer depends on the other samples.
    Where grad mode is on, the iterations are recorded (and can be differentiated through).

    Args:
        fixed_point_map: the map; `frozen()` it first unless its iterations are to be recorded.
        start: the first iterate, (B, n).
        solver: the rule of the iterations.
        keep_jacobian: whether `Root.jacobian` is wanted, if the solver uses Jacobians.
        trace: whether `Root.trace` is wanted.
    """
    search = _Search(fixed_point_map, start, solver, keep_jacobian=keep_jacobian, trace=trace)
    for attempt in range(solver.attempts):
        if not search.run(attempt):
            break
    return search.root()


class _Search:
    """The answers so far, in the batch's own numbering, and the loop that improves them."""

    def __init__(
        self, fixed_point_map: FixedPointMap, start: Tensor, solver: Solver, *, keep_jacobian: bool, trace: bool
    ) -> None:
        samples = start.shape[0]
        self.map = fixed_point_map
        self.solver = solver
        self.start = start
        self.w = start
        self.residual = torch.full((samples,), torch.inf, dtype=start.dtype, device=start.device)
        self.relative = self.residual
        self.iterations = torch.zeros(samples, dtype=torch.int64, device=start.device)
        self.evaluations = torch.zeros_like(self.iterations)
        self.exhausted = torch.zeros_like(self.iterations, dtype=torch.bool)
        self.trace: list[Tensor] | None = [] if trace else None
        # On a CPU a look costs nothing, and where f costs circuits, evaluating a converged sample costs more.
        look_often = start.device.type == "cpu" or fixed_point_map.cost.circuits_per_value > 0
        self.interval = 1 if look_often else CHECK_INTERVAL_ON_ACCELERATOR
        # A converged sample's last Jacobian is the one at its answer only if every iteration is looked at.
        keep = keep_jacobian and solver.uses_jacobian and look_often
        self.jacobian = start.new_zeros(samples, start.shape[1], start.shape[1]) if keep else None

    def run(self, attempt: int) -> bool:
        """One attempt at the samples that still need one; returns whether there were any."""
        solver = self.solver
        rows = self._stragglers() if attempt else None  # None: every sample
        if rows is not None and rows.numel() == 0:
            return False
        here = self.map if rows is None else self.map.select(rows)
        w = _take(self.start, rows)
        best = tuple(_take(tensor, rows) for tensor in (self.w, self.residual, self.relative))
        state: State = ()
        for iteration in range(solver.max_iterations + 1):
            value, jacobian = here.value_and_jacobian(w) if solver.uses_jacobian else (here.value(w), None)
            difference = value - w
            residual = torch.linalg.vector_norm(difference, dim=1)
            relative = _relative(residual, value)
            best = _better(best, (w, residual, relative))
            if self.trace is not None:
                self._note(rows, relative)
            last = iteration == solver.max_iterations
            if last or (iteration + 1) % self.interval == 0:
                # Converged samples leave; so do those that are NaN, from where no solver returns.
                staying = (relative > solver.tolerance) & (best[2] > solver.tolerance)
                if not bool(staying.all()):
                    self._leave(rows, staying.logical_not().nonzero().squeeze(1), iteration, best, jacobian)
                    kept = staying.nonzero().squeeze(1)
                    if kept.numel() == 0:
                        return True
                    rows = kept if rows is None else rows.index_select(0, kept)
                    here = here.select(kept)
                    w, difference, residual = (t.index_select(0, kept) for t in (w, difference, residual))
                    best = tuple(t.index_select(0, kept) for t in best)
                    state = tuple(t.index_select(0, kept) for t in state)
                    jacobian = None if jacobian is None else jacobian.index_select(0, kept)
            if not last:
                w, state = solver.step(Evaluation(iteration, attempt, w, difference, residual, jacobian), state)
        self._run_out(rows, here, best, state)
        return True

    def root(self) -> Root:
        """The answers, with the reasons for those that are none."""
        converged = self.relative <= self.solver.tolerance
        reason = torch.zeros_like(self.iterations)
        unconverged = len(converged) - int(torch.count_nonzero(converged))
        if unconverged:
            reason = torch.where(self.exhausted, int(Reason.MAX_ITERATIONS), int(Reason.DIVERGED))
            reason = torch.where(self.relative < torch.inf, reason, int(Reason.NOT_FINITE))
            reason = torch.where(converged, int(Reason.CONVERGED), reason)
        jacobian_evaluations = self.evaluations if self.solver.uses_jacobian else torch.zeros_like(self.evaluations)
        if unconverged and self.jacobian is not None:
            # The best iterate of a straggler was not its last, so its Jacobian is not at hand.
            rows = converged.logical_not().nonzero().squeeze(1)
            jacobian = self.map.select(rows).value_and_jacobian(self.w.index_select(0, rows))[1]
            self.jacobian = self.jacobian.index_copy(0, rows, jacobian)
            jacobian_evaluations = jacobian_evaluations + converged.logical_not()
        return Root(
            w=self.w,
            residual=self.residual,
            relative_residual=self.relative,
            iterations=self.iterations,
            evaluations=self.evaluations,
            jacobian_evaluations=jacobian_evaluations,
            converged=converged,
            reason=reason,
            unconverged=unconverged,
            jacobian=self.jacobian,
            trace=self.trace,
        )

    def _stragglers(self) -> Tensor:
        """Samples that have not converged, but were finite once."""
        return ((self.relative > self.solver.tolerance) & (self.relative < torch.inf)).nonzero().squeeze(1)

    def _leave(
        self, rows: Tensor | None, leaving: Tensor, iteration: int, best: tuple[Tensor, ...], jacobian: Tensor | None
    ) -> None:
        """Records the answers of those active samples that are no longer sought."""
        place = leaving if rows is None else rows.index_select(0, leaving)
        self._put(place, tuple(tensor.index_select(0, leaving) for tensor in best), iteration)
        if self.jacobian is not None and jacobian is not None:
            self.jacobian = self.jacobian.index_copy(0, place, jacobian.index_select(0, leaving))

    def _run_out(self, rows: Tensor | None, here: FixedPointMap, best: tuple[Tensor, ...], state: State) -> None:
        """Records the answers of the samples that are left when the iterations end."""
        place = torch.arange(len(self.w), device=self.w.device) if rows is None else rows
        self.exhausted = self.exhausted.index_fill(0, place, True)
        answer = self.solver.finish(state)
        if answer is not None:
            # Taken although a single iterate may have measured less: where f is sampled, the least of many
            # measured residuals says little.
            value = here.value(answer)
            residual = torch.linalg.vector_norm(value - answer, dim=1)
            relative = _relative(residual, value)
            best = _choose(relative < torch.inf, (answer, residual, relative), best)
            self.evaluations.index_add_(0, place, torch.ones_like(place))
            if self.trace is not None:
                self._note(rows, relative)
        self._put(place, best, self.solver.max_iterations)

    def _put(self, place: Tensor, best: tuple[Tensor, ...], iteration: int) -> None:
        self.w = self.w.index_copy(0, place, best[0])
        self.residual = self.residual.index_copy(0, place, best[1])
        self.relative = self.relative.index_copy(0, place, best[2])
        self.iterations.index_add_(0, place, torch.full_like(place, iteration))
        self.evaluations.index_add_(0, place, torch.full_like(place, iteration + 1))

    def _note(self, rows: Tensor | None, relative: Tensor) -> None:
        assert self.trace is not None
        relative = relative.detach()
        self.trace.append(relative if rows is None else self.trace[-1].index_copy(0, rows, relative))


def _relative(residual: Tensor, value: Tensor) -> Tensor:
    """‖f(w) − w‖ / ‖f(w)‖, kept finite where f(w) = 0."""
    return residual / (torch.linalg.vector_norm(value, dim=1) + torch.finfo(value.dtype).tiny ** 0.5)


def _better(best: tuple[Tensor, ...], new: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Of two (w, residual, relative), sample by sample, the one with less; NaN is never less."""
    return _choose(new[2] < best[2], new, best)


def _choose(first: Tensor, these: tuple[Tensor, ...], those: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Sample by sample `these` where `first`, else `those`."""
    return (
        torch.where(first.unsqueeze(1), these[0], those[0]),
        torch.where(first, these[1], those[1]),
        torch.where(first, these[2], those[2]),
    )


def _take(tensor: Tensor, rows: Tensor | None) -> Tensor:
    return tensor if rows is None else tensor.index_select(0, rows)
