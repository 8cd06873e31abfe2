"""The driver of the deterministic solvers: evaluate, measure, keep the best, drop what has converged, count."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import _looks
from ._carried import search_carrying
from ._map import FixedPointMap, PlannedCall
from ._reason import Reason
from ._root import Root, checked_value, residuals
from .solvers import Evaluation, Solver, State
from .solvers.newton import Newton

CHECK_INTERVAL_ON_ACCELERATOR = 4
"""Iterations between two looks at what has converged: each look makes the host wait for the device. What converges in
between stands still, at the price of evaluations, but not of other answers."""

Best = tuple[Tensor, Tensor, Tensor]
"""An iterate of each sample, (B, n), its residual and its relative residual, (B,)."""


def search(
    fixed_point_map: FixedPointMap,
    start: Tensor,
    solver: Solver,
    *,
    keep_jacobian: bool = False,
    keep_inverse: bool = False,
    trace: bool = False,
) -> Root:
    """What `solve` does for every solver but the statistical one; the arguments are those of `solve`."""
    waiting = _looks.on_accelerator(start)
    if solver.uses_jacobian and len(start) and not torch.is_grad_enabled():
        root = None
        if not trace and isinstance(solver, Newton) and solver.compiled and fixed_point_map.is_compiled:
            root = fixed_point_map.compiled_root(start, solver, keep_jacobian=keep_jacobian)
        elif fixed_point_map.carries:
            root = search_carrying(
                fixed_point_map, start, solver, in_one_go=waiting, keep_jacobian=keep_jacobian, trace=trace
            )
        if root is not None and (root.jacobian is not None or not keep_jacobian):
            return root
    found = _Search(
        fixed_point_map,
        start,
        solver,
        interval=CHECK_INTERVAL_ON_ACCELERATOR if waiting else 1,
        keep_jacobian=keep_jacobian,
        keep_inverse=keep_inverse,
        trace=trace,
    )
    return found.answer()


class _Search:
    """The answers so far, in the batch's own numbering, and the loop that improves them."""

    def __init__(
        self,
        fixed_point_map: FixedPointMap,
        start: Tensor,
        solver: Solver,
        *,
        interval: int,
        keep_jacobian: bool,
        trace: bool,
        keep_inverse: bool = False,
    ) -> None:
        samples = start.shape[0]
        self.map = fixed_point_map
        self.solver = solver
        self.start = start
        self.best: Best | None = None
        self.jacobian: Tensor | None = None
        self.lacks_jacobians = False  # whether some samples were done before a Jacobian was evaluated
        self.inverse: Tensor | None = None
        self.asked: Tensor | None = None  # Jacobians that the solver has asked for, once it has
        self.evaluations = torch.zeros(samples, dtype=torch.int64, device=start.device)
        self.steps_behind = torch.ones_like(self.evaluations)  # evaluations − steps: one for each attempt
        self.converged = torch.zeros(samples, dtype=torch.bool, device=start.device)
        self.exhausted = self.converged
        self.unpaid = self.converged  # whether the map's budget ended it
        self.unconverged = samples
        self.trace: list[Tensor] | None = [] if trace else None
        self.keeps_inverse = keep_inverse and solver.estimates_inverse
        # Where an evaluation is paid for, or a sample's past is asked for, samples must leave at once.
        at_once = fixed_point_map.is_sampled or self.keeps_inverse or solver.asks_for_jacobian
        self.interval = 1 if at_once else interval
        self.wants_jacobian = keep_jacobian and solver.uses_jacobian
        # A converged sample's last Jacobian is the one at its answer if it is a Jacobian at all.
        self.keeps_jacobian = self.wants_jacobian and fixed_point_map.steers_exactly

    def answer(self) -> Root:
        """What was found in as many attempts as the solver has and the samples need."""
        for attempt in range(self.solver.attempts):
            self._try(attempt)
            if not self.unconverged or bool(self.unpaid.any()):
                break
        return self._root()

    def _try(self, attempt: int) -> None:
        """One attempt at the samples that still need one."""
        if self.best is None:
            active = _Active(rows=None, map=self.map, w=self.start, best=None, evaluated=None)
        else:
            # Samples that were never finite are not tried again.
            again = (self.best[2] > self.solver.tolerance) & (self.best[2] < torch.inf)
            rows = again.nonzero().squeeze(1)
            if rows.numel() == 0:
                return
            w, *best, evaluated = _rows_of(rows, self.start, *self.best, self.evaluations)
            active = _Active(rows, self.map.select(rows), w, (best[0], best[1], best[2]), evaluated)
            self.steps_behind.index_add_(0, rows, torch.ones_like(rows))
        self._iterate(active, attempt)
        assert self.best is not None
        self.converged = self.best[2] <= self.solver.tolerance
        self.unconverged = len(self.converged) - int(torch.count_nonzero(self.converged))

    def _root(self) -> Root:
        """The answers, with the reasons for those that are none."""
        assert self.best is not None
        w, residual, relative = self.best
        reason = torch.zeros_like(self.evaluations)
        jacobian_evaluations = torch.zeros_like(self.evaluations)
        if self.asked is not None:
            jacobian_evaluations = self.asked
        elif self.solver.uses_jacobian:
            jacobian_evaluations = (self.evaluations - self.solver.picard_steps).clamp(min=0)
        if self.unconverged:
            reason = torch.where(self.exhausted, int(Reason.MAX_ITERATIONS), int(Reason.DIVERGED))
            reason = torch.where(relative < torch.inf, reason, int(Reason.NOT_FINITE))
            reason = torch.where(self.unpaid, int(Reason.BUDGET), reason)
            reason = torch.where(self.converged, int(Reason.CONVERGED), reason)
            residual, relative = (torch.where(tensor.isnan(), torch.inf, tensor) for tensor in (residual, relative))
        if bool(self.unpaid.any()):
            self.jacobian = None  # there is nothing left to measure it with
        elif self.wants_jacobian and self.jacobian is None:
            self.jacobian = self.map.jacobian_at_root(w)
            jacobian_evaluations = jacobian_evaluations + 1
        elif (self.unconverged or self.lacks_jacobians or self.interval > 1) and self.jacobian is not None:
            # The best iterate of a straggler was not its last, so its Jacobian is not at hand.
            missing = self.converged.logical_not()
            if self.lacks_jacobians or self.interval > 1:
                missing |= self.evaluations <= self.solver.picard_steps
            rows = missing.nonzero().squeeze(1)
            jacobian = self.map.select(rows).jacobian_at_root(w.index_select(0, rows))
            self.jacobian = self.jacobian.index_copy(0, rows, jacobian)
            jacobian_evaluations = jacobian_evaluations + missing
        if self.keeps_inverse and self.inverse is None:  # not even the start could be paid for
            self.inverse = torch.eye(w.shape[1], dtype=w.dtype, device=w.device).expand(len(w), -1, -1)
        return Root(
            w=w,
            residual=residual,
            relative_residual=relative,
            iterations=(self.evaluations - self.steps_behind).clamp(min=0),
            evaluations=self.evaluations,
            jacobian_evaluations=jacobian_evaluations,
            converged=self.converged,
            reason=reason,
            unconverged=self.unconverged,
            jacobian=self.jacobian,
            trace=self.trace,
            inverse=self.inverse,
        )

    def _iterate(self, active: _Active, attempt: int) -> None:
        solver, tolerance = self.solver, self.solver.tolerance
        state: State = ()
        if self.interval > 1:
            active.spent = torch.ones_like(active.w[:, 0], dtype=torch.int64)
        for iteration in range(solver.max_iterations + 1):
            w = active.w
            wants_jacobian = solver.wants_jacobian(attempt, iteration)
            if not active.map.affords([PlannedCall(len(w), jacobian=wants_jacobian)]):
                self._run_dry(active, iteration, state)
                return
            if wants_jacobian:
                # A sample that an inexact matrix has not led to its fixed point gets the Jacobian itself.
                steered = active.map.value_and_steering if attempt == 0 else active.map.value_and_jacobian
                value, jacobian = steered(w)
            else:
                value, jacobian = active.map.value(w), None
            difference = checked_value(value, w) - w
            residual, relative = residuals(value, difference)
            now = (w, residual, relative)
            active.best = best = now if active.best is None else self._better(now, active.best)
            if self.trace is not None:
                self._note(active, relative)
            if iteration == solver.max_iterations:
                self._run_out(active, jacobian, state)
                self._record_inverse(active.rows, Evaluation(iteration, attempt, w, difference, relative, None), state)
                return
            if (iteration + 1) % self.interval == 0:
                # Converged samples leave; so do those that are NaN, from where no solver returns.
                staying = relative > tolerance
                if not bool(staying.all()):
                    # What is recorded of those that stay is overwritten later: cheaper than telling them apart.
                    self._record(active, jacobian, iteration + 1 if active.spent is None else active.spent)
                    seen = Evaluation(iteration, attempt, w, difference, relative, None)
                    self._record_inverse(active.rows, seen, state)
                    kept = staying.nonzero().squeeze(1)
                    if kept.numel() == 0:
                        self._forget_idle_notes(active, iteration + 1)
                        return
                    w, residual, relative, difference = _rows_of(kept, *now, difference)
                    active.keep(kept, None if best is not now else (w, residual, relative))
                    state = tuple(_rows_of(kept, *state))
                    jacobian = None if jacobian is None else jacobian.index_select(0, kept)
            seen = Evaluation(iteration, attempt, w, difference, relative, jacobian)
            if solver.asks_for_jacobian:
                rows = solver.stalled(seen, state).nonzero().squeeze(1)
                if not active.map.affords([PlannedCall(len(rows), value=False, jacobian=True)]):
                    self._run_dry(active, iteration + 1, state)
                    return
                if len(rows) or not len(w):
                    seen = seen._replace(jacobian=self._jacobian_of(rows, active, w, difference + w))
            ahead, state = solver.step(seen, state)
            active.w = ahead if active.spent is None else active.advanced(w, ahead, relative > tolerance)

    def _jacobian_of(self, rows: Tensor, active: _Active, w: Tensor, value: Tensor) -> Tensor:
        """∂f/∂w of the rows that need it, counted; (M, n, n), NaN for the others."""
        if self.asked is None:
            self.asked = torch.zeros_like(self.evaluations)
        place = rows if active.rows is None else active.rows.index_select(0, rows)
        self.asked.index_add_(0, place, torch.ones_like(place))
        some = active.map if len(rows) == len(w) else active.map.select(rows)
        jacobian = some.measure_jacobian(*_rows_of(rows, w, value)).jacobian
        if len(rows) == len(w):
            return jacobian
        return jacobian.new_full((len(w), *jacobian.shape[1:]), torch.nan).index_copy(0, rows, jacobian)

    def _record_inverse(self, rows: Tensor | None, seen: Evaluation | None, state: State) -> None:
        """Puts the solver's estimate of (I − ∂f/∂w)⁻¹ among the answers, with what it learns from `seen`."""
        if not self.keeps_inverse or (seen is None and not state):
            return
        inverse = self.solver.inverse(state if seen is None else self.solver.step(seen, state)[1])
        assert inverse is not None
        self.inverse = inverse if rows is None or self.inverse is None else self.inverse.index_copy(0, rows, inverse)

    def _better(self, now: Best, best: Best) -> Best:
        """Sample by sample the iterate with the lesser relative residual."""
        # NaN is never less, so the best iterate of a sample is a finite one, unless even the start was not.
        less = now[2] < best[2]
        # Mostly every sample improves; to know it is cheaper than to choose, where knowing makes no device wait.
        if self.interval == 1 and bool(less.all()):
            return now
        return _choose(less, now, best)

    def _run_dry(self, active: _Active, evaluations: int, state: State) -> None:
        """Records the answers of the samples that are left when the map's budget ends."""
        if active.best is None:  # not even the start was evaluated
            nothing = torch.full_like(active.w[:, 0], torch.inf)
            active.best = active.w, nothing, nothing
        unpaid = active.best[2] > self.solver.tolerance
        self.unpaid = unpaid if active.rows is None else self.unpaid.index_copy(0, active.rows, unpaid)
        self._record(active, None, evaluations if active.spent is None else active.spent.clamp(max=evaluations))
        self._record_inverse(active.rows, None, state)

    def _run_out(self, active: _Active, jacobian: Tensor | None, state: State) -> None:
        """Records the answers of the samples that are left when the iterations end."""
        assert active.best is not None
        evaluations: int | Tensor = self.solver.max_iterations + 1
        ran_out, last = active.best[2] > self.solver.tolerance, None
        if active.spent is not None:  # some have left since the last look, in effect
            last = active.spent == evaluations
            ran_out, evaluations = ran_out & last, active.spent
        rows = active.rows
        self.exhausted = ran_out if rows is None else self.exhausted.index_copy(0, rows, ran_out)
        answer = self.solver.finish(state)
        if answer is not None:
            # It counts even if a single iterate has measured less: where f is sampled, the least of many measured
            # residuals says little. An iterate that met the tolerance stays.
            value = active.map.value(answer)
            residual, relative = residuals(value, value - answer)
            if self.trace is not None:
                self._note(active, relative)
            active.best = _choose((relative < torch.inf) & ran_out, (answer, residual, relative), active.best)
            place = torch.arange(len(answer), device=answer.device) if rows is None else rows
            once_more = torch.ones_like(place) if last is None else last.long()
            evaluations = evaluations + (1 if last is None else once_more)
            self.steps_behind.index_add_(0, place, once_more)
        self._record(active, jacobian, evaluations)

    def _record(self, active: _Active, jacobian: Tensor | None, evaluations: int | Tensor) -> None:
        """Puts what is known of the active samples, so many evaluations into this attempt, among the answers.

        Args:
            active: the samples.
            jacobian: ∂f/∂w at their iterate, (M, n, n), if it is at hand.
            evaluations: of all of them, or of each, (M,).
        """
        assert active.best is not None
        if active.rows is None or self.best is None:
            self.best = active.best
            if isinstance(evaluations, Tensor):
                self.evaluations.copy_(evaluations)
            else:
                self.evaluations.fill_(evaluations)
            self.jacobian = jacobian if self.keeps_jacobian else None
            return
        w, residual, relative = (
            old.index_copy(0, active.rows, new) for old, new in zip(self.best, active.best, strict=True)
        )
        self.best = (w, residual, relative)
        if active.evaluated is not None:
            evaluations = active.evaluated + evaluations
        if isinstance(evaluations, Tensor):
            self.evaluations.index_copy_(0, active.rows, evaluations)
        else:
            self.evaluations.index_fill_(0, active.rows, evaluations)
        if self.keeps_jacobian and jacobian is not None:
            if self.jacobian is None:
                self.lacks_jacobians = True
                self.jacobian = jacobian.new_full((len(self.evaluations), *jacobian.shape[1:]), torch.nan)
            self.jacobian = self.jacobian.index_copy(0, active.rows, jacobian)

    def _note(self, active: _Active, relative: Tensor) -> None:
        assert self.trace is not None
        relative = relative.detach()
        self.trace.append(relative if active.rows is None else self.trace[-1].index_copy(0, active.rows, relative))

    def _forget_idle_notes(self, active: _Active, evaluations: int) -> None:
        """Leaves out of the trace the last evaluations, of so many, at which every sample stood still."""
        if self.trace is not None and active.spent is not None:
            idle = evaluations - int(active.spent.max())
            del self.trace[len(self.trace) - idle :]


@dataclass(slots=True)
class _Active:
    """The samples that are still iterated in this attempt.

    Attributes:
        rows: their numbers in the batch; None: all of it.
        map: their map.
        w: their iterate.
        best: their best one.
        evaluated: evaluations in earlier attempts; None in the first.
        spent: evaluations in this attempt, the one of w included, (M,); of samples that stand still, those before.
            None where samples leave at once, and all have as many.
    """

    rows: Tensor | None
    map: FixedPointMap
    w: Tensor
    best: Best | None
    evaluated: Tensor | None
    spent: Tensor | None = None

    def advanced(self, w: Tensor, ahead: Tensor, sought: Tensor) -> Tensor:
        """The next iterate: `ahead` for the samples that are sought, which is counted, and w for the others."""
        assert self.spent is not None
        self.spent = self.spent + sought
        return torch.where(sought.unsqueeze(1), ahead, w)

    def keep(self, kept: Tensor, best: Best | None) -> None:
        """Drops all samples but `kept`; w is left to be set, and their best is given if it is at hand."""
        self.rows = kept if self.rows is None else self.rows.index_select(0, kept)
        self.map = self.map.select(kept)
        if best is None:
            assert self.best is not None
            w, residual, relative = _rows_of(kept, *self.best)
            best = (w, residual, relative)
        self.best = best
        if self.evaluated is not None:
            self.evaluated = self.evaluated.index_select(0, kept)
        if self.spent is not None:
            self.spent = self.spent.index_select(0, kept)


def _choose(first: Tensor, these: Best, those: Best) -> Best:
    """Sample by sample `these` where `first`, else `those`."""
    return (
        torch.where(first.unsqueeze(1), these[0], those[0]),
        torch.where(first, these[1], those[1]),
        torch.where(first, these[2], those[2]),
    )


def _rows_of(rows: Tensor, *tensors: Tensor) -> list[Tensor]:
    """The rows of each tensor."""
    return [tensor.index_select(0, rows) for tensor in tensors]
