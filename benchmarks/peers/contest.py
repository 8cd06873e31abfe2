"""One problem at one batch: every peer checked against ours, then timed turn by turn."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from torch import Tensor

from ..timing import Timing
from .agreement import assert_agreement
from .cell import Cell, Contest
from .peer import OPERATIONS, TOLERANCES, Case, Operation, Peer, Precision
from .points import Points
from .problem import Problem

_CHECKED_STEPS = 16
"""Samples of the step that is compared: with thousands, one that lies between two fixed points may go either way."""
_PROBE = 16
"""Samples from which a time in proportion is estimated."""
_SHORT = 10
"""From so many turns on, calls are short."""
_SOLVE = 6
"""Jacobians that a step takes at the least."""


@dataclass(frozen=True)
class Limits:
    """How long anything may take.

    Attributes:
        call: seconds of one call; what would take longer is not done.
        turns: seconds for all turns of a peer in one contest.
        most: turns.
    """

    call: float
    turns: float
    most: int

    def repetitions(self, seconds: float) -> int:
        """Turns of something that takes so long."""
        return max(1, min(self.most, int(self.turns / max(seconds, 1e-6))))


@dataclass(frozen=True)
class History:
    """What smaller problems took, in seconds; by it those are passed over that would take too long."""

    a_sample: dict[tuple[str, Precision, str, Operation], tuple[int, float]] = field(default_factory=dict)
    a_batch: dict[tuple[str, Precision, str, Operation, int], tuple[int, float]] = field(default_factory=dict)


class Reference:
    """Our numbers in double precision, each computed once."""

    def __init__(self, peer: Peer, unpenalised: Peer, problem: Problem, points: Points) -> None:
        self._peers, self._problem, self._points = {True: peer, False: unpenalised}, problem, points
        self._known: dict[tuple[Operation, int, bool], Tensor] = {}

    def value(self, operation: Operation, samples: int, *, penalised: bool) -> Tensor:
        """See `Case.value`."""
        key = (operation, samples, penalised or operation != "step")
        if key not in self._known:
            peer = self._peers[key[2]]
            self._known[key] = peer.case(self._problem, "double", self._points.first(samples)).value(operation)
        return self._known[key]


def hold(
    problem: Problem,
    points: Points,
    peers: Sequence[Peer],
    reference: Reference,
    limits: Limits,
    history: History,
    *,
    operations: Sequence[Operation] = OPERATIONS,
) -> Iterator[Cell]:
    """The cells of all operations.

    Raises:
        AssertionError: a peer's numbers are not ours.
    """
    entrants = [(peer, precision) for peer in peers for precision in peer.precisions]
    with ExitStack() as stack:
        cases: dict[tuple[str, Precision], Case] = {}
        for operation in operations:
            contest = Contest(problem.encoding, problem.num_qubits, points.batch, operation)
            ready: dict[tuple[str, Precision], tuple[Peer, float, float]] = {}
            for peer, precision in entrants:
                found = _Entrant(peer, precision, contest, problem, points, limits, history).admitted(
                    cases, reference, stack
                )
                if isinstance(found, Cell):
                    yield found
                else:
                    ready[peer.name, precision] = (peer, *found)
            counts = {key: limits.repetitions(seconds) for key, (_, seconds, _) in ready.items()}
            timings = in_turns({key: cases[key] for key in ready}, operation, counts)
            for key, (peer, _, difference) in ready.items():
                history.a_batch[(*key, problem.encoding, operation, problem.num_qubits)] = (
                    points.batch,
                    timings[key].median / 1000,
                )
                yield Cell(contest, peer.name, peer.ours, key[1], timings[key], "", None, difference, peer.penalised)


def in_turns(
    cases: dict[tuple[str, Precision], Case], operation: Operation, counts: dict[tuple[str, Precision], int]
) -> dict[tuple[str, Precision], Timing]:
    """As `timing.interleaved`, with cases that keep the clock themselves.

    A short call is made once beforehand, not counted: whoever had the turn before has left its own data in the
    processor's caches, from which one peer would suffer more than another.
    """
    gc.collect()
    rounds = max(counts.values(), default=0)
    seconds: dict[tuple[str, Precision], list[float]] = {key: [] for key in cases}
    for turn in range(rounds):
        for key, case in cases.items():
            if (turn + 1) * counts[key] // rounds > turn * counts[key] // rounds:
                if counts[key] >= _SHORT:
                    case.seconds(operation)
                seconds[key].append(case.seconds(operation))
    return {key: Timing(tuple(times)) for key, times in seconds.items()}


@dataclass(frozen=True)
class _Entrant:
    """A peer on its way to the start."""

    peer: Peer
    precision: Precision
    contest: Contest
    problem: Problem
    points: Points
    limits: Limits
    history: History

    def admitted(
        self, cases: dict[tuple[str, Precision], Case], reference: Reference, stack: ExitStack
    ) -> Cell | tuple[float, float]:
        """Seconds of a call and the difference to ours; or a cell that says why it does not start."""
        key, operation = (self.peer.name, self.precision), self.contest.operation
        refused = self.peer.missing() or self.peer.refusal(self.problem, operation) or self._hopeless()
        if refused:
            return Cell.without(self.contest, self.peer, self.precision, refused)
        expected = self._expected_from_smaller_batch()
        if expected is not None and expected > self.limits.call:
            return self._too_long(expected)
        if key not in cases and not self.peer.loops:
            cases[key] = stack.enter_context(closing(self._case(self.points.batch)))
        difference, few_seconds, few = self._checked(cases.get(key), reference)
        if self.peer.loops:
            self.history.a_sample[(*key, self.problem.encoding, operation)] = (
                self.problem.num_qubits,
                few_seconds / few,
            )
            expected = self._estimate(few_seconds, few) if expected is None else expected
            if expected > self.limits.call:
                return self._too_long(expected)
            if key not in cases:
                cases[key] = stack.enter_context(closing(self._case(self.points.batch)))
        first = cases[key].seconds(operation)
        # What the first call loads is not counted, unless that call is so long that it makes no difference.
        return first if 2 * first > self.limits.call else cases[key].seconds(operation), difference

    def _estimate(self, seconds: float, samples: int) -> float:
        """Seconds of a call, in proportion from one on a few samples.

        From somewhat more of them, where that is affordable: a call's own part then counts less.
        """
        more = min(self.points.batch, _PROBE)
        if samples < more and seconds * more / samples < self.limits.call < seconds * self.points.batch / samples:
            with closing(self._case(more)) as probe:
                probe.seconds(self.contest.operation)
                seconds, samples = probe.seconds(self.contest.operation), more
        return seconds * self.points.batch / samples

    def _checked(self, case: Case | None, reference: Reference) -> tuple[float, float, int]:
        """The difference to ours, and the seconds of a call on how many samples."""
        operation, batch = self.contest.operation, self.points.batch
        samples = min(batch, self.peer.checked or batch, _CHECKED_STEPS if operation == "step" else batch)
        expected = reference.value(operation, samples, penalised=self.peer.penalised)
        who = f"{self.peer.name}, {self.precision} precision ({self.contest.words})"
        tolerance = TOLERANCES[self.precision]
        few = case if case is not None and samples == batch else self._case(samples)
        try:
            difference = assert_agreement(few.value(operation), expected, tolerance=tolerance, who=who)
            seconds = few.seconds(operation) if self.peer.loops else 0.0
            if 0 < seconds < self.limits.call:  # once more, without what a first call loads
                seconds = few.seconds(operation)
        finally:
            if few is not case:
                few.close()
        return difference, seconds, samples

    def _case(self, samples: int) -> Case:
        return self.peer.case(self.problem, self.precision, self.points.first(samples))

    def _expected_from_smaller_batch(self) -> float | None:
        key = (self.peer.name, self.precision, self.problem.encoding, self.contest.operation, self.problem.num_qubits)
        if key not in self.history.a_batch:
            return None
        batch, seconds = self.history.a_batch[key]
        if not self.peer.loops and batch < 256:  # there most of the time does not grow
            return None
        return seconds * self.points.batch / batch

    def _hopeless(self) -> str | None:
        """Why even one sample would take too long, where there is no use in trying."""
        if not self.peer.loops:
            return None
        key = (self.peer.name, self.precision, self.problem.encoding)
        qubits, seconds = self.history.a_sample.get((*key, self.contest.operation), (0, 0.0))
        if 0 < qubits < self.problem.num_qubits and 2 * seconds > self.limits.call:
            return f"beyond {self.limits.call:g} s: {seconds:.2g} s for one sample already at {qubits} qubits"
        qubits, seconds = self.history.a_sample.get((*key, "jacobian"), (0, 0.0))
        if self.contest.operation == "step" and _SOLVE * seconds > self.limits.call:
            return (
                f"beyond {self.limits.call:g} s: one sample's Jacobian alone takes {seconds:.2g} s at {qubits} qubits"
            )
        return None

    def _too_long(self, seconds: float) -> Cell:
        reason = f"beyond {self.limits.call:g} s: estimated in proportion from a smaller batch"
        return Cell.without(self.contest, self.peer, self.precision, reason, 1000 * seconds)
