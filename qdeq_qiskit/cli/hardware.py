"""Trained models on processors: what it costs, and the work itself, which survives whatever happens to us."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

from qdeq_qiskit.cli._app import FAILED, DataDir, Run, answers_errors, app, complain, make_console, refuse_study

if TYPE_CHECKING:
    from qdeq_qiskit.hardware.solving import Solved
    from qdeq_qiskit.hardware.submission import Order

_REHEARSING = "compiling, and rehearsing on a copy of the processor"

BackendName = Annotated[
    str, typer.Option(metavar="RECIPE", help="Backend recipe of kind ibm, name or path, such as ibm or fake_torino.")
]
Samples = Annotated[int, typer.Option(min=1, help="Test images.")]
Method = Annotated[
    Literal["circuits", "surrogate"],
    typer.Option(help="circuits: every evaluation on the processor; surrogate: its operators, measured once."),
]
Shots = Annotated[int | None, typer.Option(min=1, help="Shots of each circuit [default: the recipe's].")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change one key of the backend recipe, e.g. mitigation=trex."),
]
Design = Annotated[
    Literal["tetrahedral", "clifford"] | None, typer.Option(help="Probes of the surrogate [default: tetrahedral].")
]
Seed = Annotated[int | None, typer.Option(min=0, help="Of what a simulator draws [default: the recipe's].")]
MaxSeconds = Annotated[
    float | None, typer.Option(metavar="S", help="The most seconds of the processor [default: the recipe's].")
]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Submit what can be, and leave the rest to qdeq resume.")]


@app.command()
@answers_errors
def cost(
    run: Run,
    backend: BackendName,
    samples: Samples = 20,
    method: Method = "circuits",
    shots: Shots = None,
    overrides: Changes = None,
    design: Design = None,
    data_dir: DataDir = None,
) -> None:
    """Say what a model takes on a processor: circuits, jobs, time."""
    from qdeq_qiskit.hardware.submission import Order, make_plan
    from qdeq_qiskit.hardware.tables import plan_table

    refuse_study(run, "cost")
    console = make_console()
    order = Order(run, backend, samples, method, _changes(overrides, shots), design=design, data_dir=data_dir)
    with console.status(_REHEARSING):
        plan = make_plan(order)
    console.print(plan_table(plan))


@app.command()
@answers_errors
def submit(
    run: Run,
    backend: BackendName,
    samples: Samples = 20,
    method: Method = "circuits",
    shots: Shots = None,
    overrides: Changes = None,
    design: Design = None,
    max_qpu_seconds: MaxSeconds = None,
    seed: Seed = None,
    no_wait: NoWait = False,
    data_dir: DataDir = None,
) -> None:
    """Run a model on a processor; an interruption loses nothing."""
    from qdeq_qiskit.hardware.submission import Order

    refuse_study(run, "submit")
    order = Order(
        run,
        backend,
        samples,
        method,
        _changes(overrides, shots),
        seed=seed,
        max_qpu_seconds=max_qpu_seconds,
        design=design,
        data_dir=data_dir,
    )
    _submit(order, wait=not no_wait)


@app.command()
@answers_errors
def tune(
    run: Run,
    backend: BackendName,
    samples: Annotated[int, typer.Option(min=1, help="Training images.")] = 32,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps, each on all of them.")] = 5,
    gradient: Annotated[
        Literal["parameter_shift", "spsa"], typer.Option(help="How gradients of the weights are measured.")
    ] = "parameter_shift",
    learning_rate: Annotated[float | None, typer.Option(help="Of Adam [default: 0.02].")] = None,
    test_samples: Annotated[
        int | None, typer.Option(min=1, help="Test images, before and after [default: as many as training images].")
    ] = None,
    shots: Shots = None,
    overrides: Changes = None,
    max_qpu_seconds: MaxSeconds = None,
    seed: Seed = None,
    no_wait: NoWait = False,
    data_dir: DataDir = None,
) -> None:
    """Train a model a few steps further on a processor."""
    from qdeq_qiskit.hardware.submission import Order

    refuse_study(run, "tune")
    order = Order(
        run,
        backend,
        samples,
        "tune",
        _changes(overrides, shots),
        seed=seed,
        max_qpu_seconds=max_qpu_seconds,
        steps=steps,
        gradient=gradient,
        learning_rate=learning_rate,
        test_samples=test_samples,
        data_dir=data_dir,
    )
    _submit(order, wait=not no_wait)


@app.command()
@answers_errors
def resume(run: Run, no_wait: NoWait = False, data_dir: DataDir = None) -> None:
    """Go on with what was submitted; no job is repeated."""
    from qdeq_qiskit.backends.runtime.errors import HardwareError, StillRunning
    from qdeq_qiskit.hardware.progress import JobProgress
    from qdeq_qiskit.hardware.solving import resume as go_on

    refuse_study(run, "resume")
    console = make_console()
    progress = JobProgress(console)

    def announce(line: str) -> None:
        console.print(line, highlight=False, soft_wrap=True, markup=False)

    with progress.shown():
        ended = go_on(run, wait=not no_wait, progress=progress, data_dir=data_dir, announce=announce)
    if not ended:
        console.print("no solve is left to go on with; `qdeq jobs` lists them", highlight=False)
    for each in ended:
        if isinstance(each, StillRunning):
            console.print(str(each), highlight=False, soft_wrap=True)
        elif isinstance(each, HardwareError):
            complain(str(each))
        else:
            _show(console, each)
    if any(isinstance(each, HardwareError) and not isinstance(each, StillRunning) for each in ended):
        raise typer.Exit(FAILED)


@app.command()
@answers_errors
def jobs(run: Run) -> None:
    """List what was submitted from a run, and what it took."""
    from qdeq_qiskit.backends.runtime.ledger import Ledger
    from qdeq_qiskit.hardware.solve_folder import LEDGER
    from qdeq_qiskit.hardware.tables import jobs_table, solves_table
    from qdeq_qiskit.training.run_directory import RunDirectory

    refuse_study(run, "jobs")
    console = make_console()
    RunDirectory.open(run)
    with Ledger.read(run / LEDGER) as ledger:
        if not console.is_terminal:  # a pipe has no width, and ids are for copying
            console.width = 200
        console.print(solves_table(ledger))
        console.print(jobs_table(ledger.solves()))


@app.command()
@answers_errors
def cancel(run: Run) -> None:
    """Cancel what waits or runs at the service."""
    from qdeq_qiskit.hardware.solving import cancel as give_up

    refuse_study(run, "cancel")
    console = make_console()
    cancelled = give_up(run)
    if not cancelled:
        console.print("every solve is finished or given up; there is nothing to cancel", highlight=False)
    for solve, ids in cancelled.items():
        what = f"cancelled {', '.join(ids)}" if ids else "no job waited or ran"
        console.print(f"solve {solve}: {what}; it is given up", highlight=False, soft_wrap=True)


def _submit(order: Order, *, wait: bool) -> None:
    """Show the plan, carry it out, show what came of it."""
    from qdeq_qiskit.backends.runtime.errors import StillRunning
    from qdeq_qiskit.hardware.progress import JobProgress
    from qdeq_qiskit.hardware.solving import submit as carry_out
    from qdeq_qiskit.hardware.submission import make_plan
    from qdeq_qiskit.hardware.tables import plan_table

    console = make_console()
    with console.status(_REHEARSING):
        plan = make_plan(order)
    plan.check_budget()
    console.print(plan_table(plan))
    progress = JobProgress(console, plan.prediction.qpu_seconds)
    try:
        with progress.shown():
            solved = carry_out(plan, wait=wait, progress=progress)
    except StillRunning as waiting:
        console.print(str(waiting), highlight=False, soft_wrap=True)
        return
    _show(console, solved)


def _show(console: Console, solved: Solved) -> None:
    from qdeq_qiskit.hardware.tables import result_table

    console.print(result_table(solved.result))
    console.print(f"report: [bold]{solved.folder.report}[/]", soft_wrap=True, highlight=False)


def _changes(overrides: list[str] | None, shots: int | None) -> list[Any]:
    """Changes of the backend recipe; shots take the place of a precision."""
    return [*(overrides or ()), *([f"shots={shots}", "precision=null"] if shots is not None else ())]
