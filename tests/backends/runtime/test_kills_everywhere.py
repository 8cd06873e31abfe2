"""A process that ends between any two steps of a solve, one after another: each solve is resumed, and loses nothing."""

import itertools
from collections import Counter

import numpy as np
import pytest
from scripted import ScriptedProcessor, ScriptedService, answer, request

from qdeq_qiskit.backends.runtime.job import JobState
from qdeq_qiskit.backends.runtime.ledger import Ledger
from qdeq_qiskit.backends.runtime.qpu_time import Budget

REQUESTS = [request([[0.1 * number, 0.2]], seed=number) for number in range(4)]
VERBS = ("submit", "acknowledge", "find", "state", "outcome", "job", "usage", "cancel")


class Killed(BaseException):
    """The end of the process."""


class Steps:
    """Counts steps, and ends the process at some of them."""

    def __init__(self, deaths=()):
        self.count, self.deaths = 0, set(deaths)

    def __call__(self):
        self.count += 1
        if self.count - 1 in self.deaths:
            raise Killed


class FragileConnection:
    """A ledger's connection on which a process may end before and after each statement."""

    def __init__(self, connection, step):
        self._connection, self._step = connection, step

    def execute(self, sql, *values):
        if sql.startswith("SELECT"):
            return self._connection.execute(sql, *values)
        if sql == "ROLLBACK":  # what SQLite does with what a dead process left half written
            return self._connection.execute(sql)
        self._step()
        done = self._connection.execute(sql, *values)
        if not self._connection.in_transaction:  # else nothing of it outlives the process
            self._step()
        return done

    def __getattr__(self, name):
        return getattr(self._connection, name)


class FragileService(ScriptedService):
    """A service before and after each of whose calls a process may end."""

    def happens(self, verb):
        self.step()
        super().happens(verb)


class World:
    """Any number of processes, of which one after another ends at one of the steps, counted over all of them."""

    def __init__(self, deaths, **service):
        self.step = Steps(deaths)
        self.service = FragileService(**service)
        self.service.step = self.step
        self.ledger = Ledger.open(None)
        self.solve = self.ledger.begin("circuits", {})
        self.ledger._connection = FragileConnection(self.ledger._connection, self.step)
        self.lives = 0

    def process(self, budget):
        """Two calls, the second of which a solver makes once it has seen the first one's outcomes."""
        dispatcher = self.solve.dispatcher(ScriptedProcessor(self.service), sleep=lambda _: None, budget=budget)
        first = dispatcher.run(REQUESTS[:3])
        return first + dispatcher.run(REQUESTS[3:])

    def run(self):
        while True:
            self.lives += 1
            budget = Budget(1000)
            try:
                return self.process(budget), budget
            except Killed:
                continue

    def check(self, outcomes, spent):
        for outcome, of in zip(outcomes, REQUESTS, strict=True):
            np.testing.assert_array_equal(outcome.arrays["evs"], answer(of))
        assert self.service.evaluated == Counter((of.seed, of.rows.tobytes()) for of in REQUESTS)
        rows = self.solve.jobs()
        assert [row.state for row in rows if row.state != JobState.FAILED] == ["done"] * len(REQUESTS)
        assert self.solve.spent_seconds == pytest.approx(spent)


WORLDS = {
    "plain": lambda: {"lag": 2},
    "a job fails": lambda: {"lag": 1, "states": [[JobState.FAILED]], "reason": "Error code 5203"},
    "usage is known late": lambda: {"usage_is_pending": True},
}


@pytest.mark.parametrize("options", WORLDS.values(), ids=WORLDS)
def test_a_kill_between_any_two_steps_loses_nothing_and_runs_and_charges_nothing_twice(options):
    undisturbed = World((), **options())
    outcomes, budget = undisturbed.run()
    undisturbed.check(outcomes, budget.spent)
    for death in range(undisturbed.step.count):
        world = World((death,), **options())
        outcomes, spent = world.run()
        assert world.lives == 2, death
        world.check(outcomes, budget.spent)
        assert spent.spent == pytest.approx(budget.spent), death


def test_two_kills_at_any_steps_lose_nothing_either():
    steps = World((), lag=1)
    steps.run()
    for first, gap in itertools.product(range(0, steps.step.count, 3), range(1, 14)):
        world = World((first, first + gap), lag=1)
        outcomes, budget = world.run()
        world.check(outcomes, budget.spent)
