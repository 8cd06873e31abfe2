"""Solves from beginning to end: begun in the ledger, run, interrupted, gone on with, concluded, given up."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qdeq_qiskit import recipes
from qdeq_qiskit.backends.runtime.connection import Connection
from qdeq_qiskit.backends.runtime.errors import AccountError, HardwareError, LedgerError
from qdeq_qiskit.backends.runtime.job import JobState, Processor
from qdeq_qiskit.backends.runtime.ledger import Ledger
from qdeq_qiskit.backends.runtime.qpu_time import Budget
from qdeq_qiskit.backends.runtime.solve import JobRow, Solve
from qdeq_qiskit.hardware.methods import METHODS
from qdeq_qiskit.hardware.report import write_report
from qdeq_qiskit.hardware.results import result_of, used
from qdeq_qiskit.hardware.settings import SolveSettings
from qdeq_qiskit.hardware.solve_folder import LEDGER, SolveFolder
from qdeq_qiskit.hardware.subject import Subject
from qdeq_qiskit.hardware.submission import Plan
from qdeq_qiskit.hardware.work import Work
from qdeq_qiskit.recipes import RecipeError

Progress = Callable[[JobRow], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Solved:
    """A finished solve.

    Attributes:
        number: of the solve.
        folder: where its files are.
        result: what came out.
    """

    number: int
    folder: SolveFolder
    result: dict[str, Any]


def submit(plan: Plan, *, wait: bool = True, progress: Progress | None = None) -> Solved:
    """Begin a solve and run it to its end.

    Args:
        plan: what to do.
        wait: False to leave jobs that are queued to a later `resume`.
        progress: told of each job's changes.

    Raises:
        BudgetError: not even one job can be paid; nothing is spent.
        StillRunning: a job is not finished, and nobody waits.
        HardwareError: it could not be finished; `resume` goes on with it.
    """
    plan.check_budget()
    run, work = plan.work.subject.directory.path, plan.work
    with Ledger.open(run / LEDGER) as ledger:
        solve = ledger.begin(
            work.settings.method,
            work.settings.model_dump(mode="json"),
            calibration=work.calibration,
            processor=work.connection.processor.name,
            predicted=plan.prediction.figures(),
        )
        processor = work.connection.processor
        if not processor.is_local:
            # Once more, so that the ledger learns of the session that the first job opens.
            processor = _opened(solve, work.settings, work.subject.qnn.num_qubits, begins=True).processor
        with closing(processor):
            try:
                return _run(solve, work, processor, wait, progress)
            except AccountError:
                # What is refused from the first job on, such as a session, leaves nothing that `resume` might revive.
                if not any(row.job_id or row.is_pending for row in solve.jobs()):
                    solve.close()
                raise


def resume(
    run: Path,
    *,
    wait: bool = True,
    progress: Progress | None = None,
    data_dir: Path | None = None,
    announce: Callable[[str], None] | None = None,
) -> list[Solved | HardwareError]:
    """Go on with every solve of a run that is not finished, one after another.

    Args:
        run: a run directory.
        wait: as for `submit`.
        progress: as for `submit`.
        data_dir: folder of the data; None for where the run was begun with.
        announce: told, in a line, of each solve that is gone on with.

    Returns:
        For each of them what came out, or why it could not be finished this time, which holds up no other.

    Raises:
        RunError, LedgerError, ...: the run or its ledger cannot be used.
    """
    _check_ledger(run)
    subject = Subject.open(run, data_dir=data_dir)
    ended: list[Solved | HardwareError] = []
    with Ledger.open(run / LEDGER) as ledger:
        for solve in _unfinished(ledger):
            if announce is not None:
                announce(_progress_of(solve))
            try:
                work = _reopened(solve, subject)
                with closing(work.connection.processor) as processor:
                    ended.append(_run(solve, work, processor, wait, progress))
            except HardwareError as error:
                ended.append(error)
        _complete_usage(run, ledger)
    return ended


def cancel(run: Path) -> dict[int, list[str]]:
    """Give up every solve that is not finished, and cancel its jobs that wait or run at the service.

    Returns:
        The ids of the cancelled jobs, by solve.
    """
    _check_ledger(run)
    cancelled: dict[int, list[str]] = {}
    with Ledger.open(run / LEDGER) as ledger:
        for solve in _unfinished(ledger):
            if not solve.has_pending_jobs:  # nobody has to be asked, as where the account or the processor is gone
                solve.close()
                cancelled[solve.id] = []
                continue
            with closing(_opened(solve, _settings_of(solve), num_qubits=1).processor) as processor:
                cancelled[solve.id] = solve.cancel(processor)
    return cancelled


def _progress_of(solve: Solve) -> str:
    """Which solve it is, and how much of it the ledger has."""
    rows = solve.jobs()
    done = sum(row.state == JobState.DONE for row in rows)
    waiting = sum(row.is_pending for row in rows)
    return (
        f"solve {solve.id} ({solve.kind} on {solve.processor}): {done:,} job{'s' * (done != 1)} answered in the "
        f"ledger, {waiting:,} handed in and not answered yet"
    )


def _unfinished(ledger: Ledger) -> list[Solve]:
    """The solves that can be gone on with."""
    return [solve for solve in ledger.solves() if solve.state == "open"]


def _settings_of(solve: Solve) -> SolveSettings:
    """What a solve depends on, as it was pinned."""
    try:
        settings: SolveSettings = recipes.check(solve.settings, SolveSettings, source="settings")
    except RecipeError as error:
        raise LedgerError(
            f"{solve.where}: its settings cannot be used ({error}); use the version of qdeq that began it, or put back "
            "a copy of the ledger"
        ) from None
    return settings


def _check_ledger(run: Path) -> None:
    """Say that nothing was submitted, rather than make an empty ledger."""
    Ledger.read(run / LEDGER).close()


def _complete_usage(run: Path, ledger: Ledger) -> None:
    """Ask what finished solves were charged where that was not known when they ended.

    It is no reason to call anything a failure: what cannot be had now is asked for next time.
    """
    for solve in ledger.solves():
        result = solve.result
        if result is None or not solve.lacks_usage:
            continue
        try:
            with closing(_opened(solve, _settings_of(solve), num_qubits=1).processor) as processor:
                solve.refresh_usage(processor)
        except HardwareError as error:
            _log.warning("what solve %d was charged is not known in full (%s)", solve.id, error)
            return
        result["used"] = used(solve)
        solve.finish(result)
        SolveFolder.of(run, solve.id).write_result(result)


def _reopened(solve: Solve, subject: Subject) -> Work:
    settings = _settings_of(solve)
    opened = _opened(solve, settings, subject.qnn.num_qubits)
    return Work.resume(subject, settings, solve.calibration, opened)


def _opened(solve: Solve, settings: SolveSettings, num_qubits: int, *, begins: bool = False) -> Connection:
    """The processor of a solve; one that is paused refuses only what begins."""
    return settings.backend.open(num_qubits, session_id=solve.session_id, on_session=solve.keep_session, begins=begins)


def _run(solve: Solve, work: Work, processor: Processor, wait: bool, progress: Progress | None) -> Solved:
    settings, path = work.settings, work.subject.directory.path
    budget = None if settings.max_qpu_seconds is None else Budget(settings.max_qpu_seconds)
    bound = work.bound_to(processor, solve.dispatcher(processor, budget=budget, wait=wait, progress=progress))
    folder = SolveFolder.of(path, solve.id)
    folder.make()
    started = time.time()
    with _telling_how_to_go_on(path):
        outcome = METHODS[settings.method].run(bound, folder)
        outcome.test.save(folder.test)
        solve.refresh_usage(processor)
        result = result_of(solve, bound, outcome, seconds=time.time() - started)
        folder.write_result(result)
        write_report(solve, bound, folder, result)
        # The last thing: whoever is killed before it goes on, from the answers in the ledger, in seconds.
        solve.finish(result)
    return Solved(solve.id, folder, result)


@contextmanager
def _telling_how_to_go_on(run: Path) -> Iterator[None]:
    """Give messages the run that they are about."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; `qdeq resume {run}` goes on, and repeats no job that was submitted; `qdeq cancel {run}` "
            "gives it up"
        ) from None
    except HardwareError as error:
        raise type(error)(str(error).replace("`qdeq resume`", f"`qdeq resume {run}`")) from error
