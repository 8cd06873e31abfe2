"""Tasks on a dask cluster: what needs what, what came of each. What the tasks do is not known here."""

from __future__ import annotations

import time
import traceback
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker
from distributed.worker import get_worker

from qdeq_qiskit.training.errors import RunError


class ClusterError(RunError):
    """A cluster that cannot be used, or was lost."""


@dataclass(frozen=True)
class Task:
    """One piece of work that writes its own result to the disk, and does nothing if that is there already.

    So a task may be called again at any time: after its worker died between the result and the word of it, too.

    Attributes:
        key: what it is called by, unique among the tasks.
        function: called with `arguments`, on a worker; both are pickled.
        requires: keys of tasks that must be done before.
        title: what it does, in a few words, for people.
        group: what kind of task it is, for the progress view.
    """

    key: str
    function: Callable[..., None]
    arguments: tuple[Any, ...]
    title: str
    requires: tuple[str, ...] = ()
    group: str = ""


@dataclass(frozen=True)
class Outcome:
    """What came of a task.

    Attributes:
        task: which.
        error: None if it was done; else what went wrong, in a line.
        details: the traceback, where there is one.
        seconds: how long it took.
        worker: the address of the worker that did it; empty where none did.
    """

    task: Task
    error: str | None = None
    details: str = ""
    seconds: float = 0.0
    worker: str = ""


def run_tasks(
    tasks: Sequence[Task],
    client: Client,
    *,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> list[Outcome]:
    """Do tasks on a cluster, each as soon as those that it requires are done, in their order where there is a choice.

    A task whose worker dies is given to another one, as often as the scheduler's `allowed-failures` says (three times
    by default). What raises is not tried again; what requires it is not tried at all. All else goes on.

    Args:
        tasks: what to do; what they require is among them or done before.
        client: of the cluster.
        on_outcome: called in this thread with what came of each, as it comes.

    Returns:
        The outcomes with an error, in the order of the tasks.

    Raises:
        ClusterError: the scheduler is gone.
        KeyboardInterrupt: Ctrl-C; what is being done is abandoned.
    """
    run = _Run(tasks, client, on_outcome)
    with _abandoning(run.futures):
        run.to_the_end()
    order = {task.key: place for place, task in enumerate(tasks)}
    return sorted(run.failed.values(), key=lambda outcome: order[outcome.task.key])


class _Run:
    """The tasks that wait, those under way, and those that failed."""

    def __init__(self, tasks: Sequence[Task], client: Client, on_outcome: Callable[[Outcome], None]) -> None:
        known = {task.key for task in tasks}
        self.waiting = {task.key: (task, set(task.requires) & known) for task in tasks}
        self.dependants: dict[str, list[str]] = {}
        for task in tasks:
            for key in task.requires:
                self.dependants.setdefault(key, []).append(task.key)
        self.place = {task.key: place for place, task in enumerate(tasks)}
        self.futures: dict[Future, Task] = {}
        self.failed: dict[str, Outcome] = {}
        self._client, self._on_outcome = client, on_outcome
        # A cluster's keys are everybody's: another study may have a task of the same name.
        self._prefix = f"qdeq-{uuid.uuid4().hex[:12]}"

    def to_the_end(self) -> None:
        """Do all of them."""
        completed = as_completed(loop=self._client.loop)
        for key in [key for key, (_, missing) in self.waiting.items() if not missing]:
            completed.add(self._submit(key))
        for future in completed:
            task = self.futures.pop(future)
            outcome = _outcome(future, task)
            future.release()
            self._on_outcome(outcome)
            if outcome.error is not None:
                self._give_up(outcome)
                continue
            for key in self.dependants.get(task.key, ()):
                if key in self.waiting:
                    self.waiting[key][1].discard(task.key)
                    if not self.waiting[key][1]:
                        completed.add(self._submit(key))

    def _submit(self, key: str) -> Future:
        task, _ = self.waiting.pop(key)
        future = self._client.submit(
            _call,
            task.function,
            task.arguments,
            key=f"{self._prefix}-{task.key}",
            pure=False,
            priority=-self.place[key],
            retries=0,
        )
        self.futures[future] = task
        return future

    def _give_up(self, outcome: Outcome) -> None:
        """Record a failure, and that of everything that needs what failed."""
        self.failed[outcome.task.key] = outcome
        for key in self.dependants.get(outcome.task.key, ()):
            if key in self.waiting:
                task, _ = self.waiting.pop(key)
                needed = Outcome(task, error=f"needs “{outcome.task.title}”, which failed")
                self._on_outcome(needed)
                self._give_up(needed)


def _call(function: Callable[..., None], arguments: tuple[Any, ...]) -> tuple[str | None, str, float, str]:
    """Call a function on a worker; what it raises comes back as text, since not every exception can be pickled."""
    worker, started = get_worker().address, time.perf_counter()
    try:
        function(*arguments)
    except Exception as error:
        message = " ".join(str(error).split()) or "no message"
        return f"{type(error).__name__}: {message}", traceback.format_exc(), time.perf_counter() - started, worker
    return None, "", time.perf_counter() - started, worker


def _outcome(future: Future, task: Task) -> Outcome:
    if future.status == "finished":
        return Outcome(task, *future.result())
    if future.status == "error":
        error = future.exception()
        if isinstance(error, KilledWorker):
            return Outcome(task, error="every worker that tried it died, as for want of memory (KilledWorker)")
        return Outcome(task, error=f"{type(error).__name__}: {' '.join(str(error).split())}")
    raise ClusterError(f"the scheduler is gone or forgot its tasks (“{task.title}” is {future.status})")


@contextmanager
def _abandoning(futures: dict[Future, Task]) -> Iterator[None]:
    """Whatever ends the work, an interrupt too, leaves nothing on the cluster."""
    try:
        yield
    finally:
        for future in list(futures):
            future.cancel(force=True)
