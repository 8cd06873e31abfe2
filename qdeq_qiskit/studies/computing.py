"""Tasks done on a cluster, with one view of their progress, and books of what failed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from qdeq_qiskit.studies.bookkeeping import Bookkeeping
from qdeq_qiskit.studies.progress import GroupProgress

if TYPE_CHECKING:
    from qdeq_qiskit.studies.tasks import Outcome, Task


def compute(
    tasks: Sequence[Task],
    *,
    totals: Mapping[str, int],
    books: Bookkeeping,
    workers: int | None,
    scheduler: str | None,
    console: Console | None,
    on_outcome: Callable[[Outcome], None] = lambda _: None,
) -> None:
    """Do what is left of a folder's tasks.

    Args:
        tasks: those that are not done yet.
        totals: how many tasks there are of each group, those done before included; groups are named in the plural.
        books: of the folder, which workers must see.
        workers: processes of the local cluster; None for one per CPU.
        scheduler: address of a running dask scheduler to use instead.
        console: where progress is shown; None for nowhere.
        on_outcome: called with what came of each task, after it is in the books.
    """
    if not tasks:
        return
    # dask takes a second to import, which a folder that is finished need not wait for.
    from qdeq_qiskit.studies.cluster import available_cpus, cluster
    from qdeq_qiskit.studies.tasks import run_tasks

    left = {group: sum(task.group == group for task in tasks) for group in totals}
    progress = GroupProgress(console, totals, {group: totals[group] - left[group] for group in totals})
    processes = min(workers or available_cpus(), len(tasks))
    if console is not None:
        where = f"the cluster at {scheduler}" if scheduler else f"{processes} worker process{'es' * (processes > 1)}"
        counts = " and ".join(f"{left[group]:,} {group if left[group] != 1 else group[:-1]}" for group in totals)
        done = " left" if sum(left.values()) < sum(totals.values()) else ""
        console.print(f"{counts}{done}, on {where}; results go to {books.path}", highlight=False, soft_wrap=True)

    def note(outcome: Outcome) -> None:
        if outcome.error is None:
            books.forget_failure(outcome.task.key)
        else:
            books.record_failure(outcome.task.key, outcome.error, outcome.details)
        progress.take(outcome)
        on_outcome(outcome)

    with cluster(workers=processes, scheduler=scheduler, shared=books.path) as client, progress.shown():
        run_tasks(tasks, client, on_outcome=note)


def check_scheduler(address: str | None) -> None:
    """Refuse a scheduler that is not there before minutes are spent on a plan; None is none."""
    if address is not None:
        from qdeq_qiskit.studies import cluster

        cluster.check_scheduler(address)


def absolute(path: Path | None) -> Path | None:
    """Workers may stand in other folders than we."""
    return None if path is None else path.expanduser().resolve()
