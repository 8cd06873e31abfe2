"""Runs of several processes that are interrupted or lose one: nothing hangs, nobody is left, nothing is lost."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from killed_runs import KILLED, RECIPE, in_child, numbers_of, small_recipe

from qdeq_qiskit.files import CannotWriteError
from qdeq_qiskit.training import RunDirectory, TrainingError
from qdeq_qiskit.training.checkpoints import KeepCheckpoints
from qdeq_qiskit.training.fit import fit, resume
from qdeq_qiskit.training.interruption import StopBetweenBatches
from qdeq_qiskit.training.processes import companions

pytestmark = [
    pytest.mark.usefixtures("drawn_quickly"),
    pytest.mark.filterwarnings("ignore::qdeq_qiskit.equilibrium.NotConvergedWarning"),
    pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked for in /proc"),
]
TWO = "optimisation.processes=2"
SECONDS = 240.0  # each process imports for a few seconds, on a busy machine for many


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose name is in the command line of every other process of a run, and in no one else's."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def others(here: Path) -> list[int]:
    """The other processes of runs, by their numbers."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = path.read_bytes()
        except OSError:  # it has ended
            continue
        if str(here).encode() in arguments and b"companion" in arguments:
            found.append(int(path.parent.name))
    return found


def wait_for(condition: Callable[[], object]) -> None:
    """Until something is so."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def after_epoch(number: int, action: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have something happen in the first process when an epoch's checkpoint is written, counted from 1."""
    original = KeepCheckpoints.on_train_epoch_end

    def on_train_epoch_end(self: KeepCheckpoints, trainer: object, pl_module: object) -> None:
        original(self, trainer, pl_module)  # type: ignore[arg-type]
        if pl_module.history[-1]["epoch"] == number:  # type: ignore[attr-defined]
            action()

    monkeypatch.setattr(KeepCheckpoints, "on_train_epoch_end", on_train_epoch_end)


def check_nothing_is_left(here: Path) -> None:
    wait_for(lambda: not others(here))
    wait_for(lambda: not list(here.glob("qdeq-*")))


@pytest.mark.slow
def test_ctrl_c_ends_the_command_and_all_its_processes_and_the_run_goes_on_to_the_same_bits(
    tmp_path: Path, here: Path
) -> None:
    small_recipe(tmp_path)
    out, changes = tmp_path / "run", ["--set", TWO, "--set", "optimisation.epochs=10000"]
    command = subprocess.Popen(
        [sys.executable, "-m", "qdeq_qiskit.cli", "fit", tmp_path / "small.yaml", *changes, "--out", out],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        wait_for((out / "checkpoints" / "last.ckpt").exists)
        assert len(others(here)) == 1
        assert not list(here.glob("qdeq-*/assignment")), "as large as the training set, and read by all"
        os.killpg(command.pid, signal.SIGINT)  # what a terminal does
        _, said = command.communicate(timeout=SECONDS)
    finally:
        command.kill()
    lines = [line for line in said.splitlines() if not line.startswith("warning:")]
    assert lines == [f"qdeq: interrupted; `qdeq fit --resume {out}` continues the run"]
    assert command.returncode == 130
    check_nothing_is_left(here)
    recipe = small_recipe(tmp_path, TWO, f"optimisation.epochs={len(RunDirectory(out).epochs()) + 1}")
    assert numbers_of(resume(out, recipe=recipe)) == numbers_of(fit(recipe, out=tmp_path / "whole"))
    check_nothing_is_left(here)


def test_a_process_that_is_killed_is_told_in_one_sentence_and_nothing_hangs(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_epoch(1, lambda: [os.kill(each, signal.SIGKILL) for each in others(here)] and None, monkeypatch)
    out = tmp_path / "run"
    sentence = (
        "process 2 of 2 was ended by SIGKILL, as the system does where memory runs out; `qdeq fit --resume "
        f"{out}` continues the run"
    )
    started = time.monotonic()
    with pytest.raises(TrainingError) as failure:
        fit(small_recipe(tmp_path, TWO), out=out)
    assert str(failure.value) == sentence
    assert time.monotonic() - started < SECONDS
    assert len(RunDirectory(out).epochs()) == 1
    check_nothing_is_left(here)


def test_whoever_ends_all_processes_as_they_begin_is_told_of_an_interrupt_and_of_no_loss(tmp_path: Path) -> None:
    stop, beginning = StopBetweenBatches(), companions._Companions(tmp_path)
    beginning._processes[1] = subprocess.Popen(["false"])
    beginning._processes[1].wait()
    (tmp_path / "complaints-1").touch()

    def interrupted() -> None:
        with stop.listening():
            os.kill(os.getpid(), signal.SIGINT)
            beginning.wait_until_ready(stop)

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_a_full_disk_is_told_with_the_name_of_the_file_that_the_others_were_to_read(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with (
        pytest.raises(CannotWriteError, match=r"assignment: cannot be written: No space left on device"),
        companions._started(Unfinished(), here),  # type: ignore[arg-type]
    ):
        pytest.fail("it began")


class Unfinished:
    """What is to be written."""


def fit_in_two(folder: Path, temporary: Path) -> None:
    tempfile.tempdir = str(temporary)
    fit(small_recipe(folder, TWO, "optimisation.epochs=10000"), out=folder / "run")


@pytest.mark.slow
def test_no_process_outlives_the_first_one_however_that_ends(tmp_path: Path, here: Path) -> None:
    killer = subprocess.Popen(
        [sys.executable, "-c", _KILLS_THE_FIRST, str(tmp_path / "run" / "checkpoints" / "last.ckpt"), str(here)]
    )
    assert in_child(fit_in_two, tmp_path, here) == KILLED
    assert killer.wait() == 0
    check_nothing_is_left(here)


_KILLS_THE_FIRST = """
import os, signal, sys, time
from pathlib import Path
while not Path(sys.argv[1]).exists():
    time.sleep(0.05)
for path in Path("/proc").glob("[0-9]*/cmdline"):
    try:
        arguments = path.read_bytes()
        parent = int((path.parent / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        continue
    if int(path.parent.name) != os.getpid() and sys.argv[2].encode() in arguments and b"companion" in arguments:
        os.kill(parent, signal.SIGKILL)
"""


@pytest.mark.slow
def test_ctrl_c_is_heeded_while_a_process_that_does_not_answer_is_waited_for(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_the_others() -> None:
        for each in others(here):
            os.kill(each, signal.SIGSTOP)
        subprocess.Popen(["sh", "-c", f"sleep 1; kill -INT {os.getpid()}"])

    after_epoch(1, stop_the_others, monkeypatch)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt, match="interrupted; `qdeq fit --resume"):
        fit(small_recipe(tmp_path, TWO), out=tmp_path / "run")
    assert time.monotonic() - started < SECONDS
    check_nothing_is_left(here)


class FailsToBeRead:
    """What a process cannot unpickle."""

    def __reduce__(self) -> tuple[object, ...]:
        return (eval, ("1 / 0",))


@pytest.mark.slow
def test_what_goes_wrong_in_another_process_is_one_sentence(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreadable = pickle.dumps(FailsToBeRead())
    monkeypatch.setattr(companions.pickle, "dumps", lambda _: unreadable)
    with pytest.raises(TrainingError) as failure:
        fit(small_recipe(tmp_path, TWO), out=tmp_path / "run")
    assert str(failure.value) == (
        "process 2 of 2 failed: ZeroDivisionError: division by zero, before the first epoch ended; nothing was kept"
    )
    assert not (tmp_path / "run").exists()
    check_nothing_is_left(here)


KINDS = {
    "three": ["optimisation.processes=3", "optimisation.epochs=4"],
    "shots": [
        TWO,
        "backend={kind: shots, shots: 16, seed: 3}",
        "model.penalty=null",
        "model.solver={kind: newton, tolerance: 0.5, max_iterations: 1}",
        "data.limit=4",
        "optimisation.batch_size=2",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_goes_on_to_the_same_bits(
    tmp_path: Path, here: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, out = small_recipe(tmp_path, *KINDS[kind]), tmp_path / "run"
    whole = fit(recipe, out=tmp_path / "whole")
    with monkeypatch.context() as patch:
        after_epoch(1, lambda: os.kill(others(here)[-1], signal.SIGKILL), patch)
        with pytest.raises(TrainingError, match="was ended by SIGKILL"):
            fit(recipe, out=out)
    assert numbers_of(resume(out)) == numbers_of(whole)
    check_nothing_is_left(here)


@pytest.mark.slow
def test_it_works_in_an_interactive_session(tmp_path: Path, here: Path) -> None:
    recipe = tmp_path / "small.yaml"
    recipe.write_text(RECIPE, encoding="utf-8")
    program = (
        "import sys; sys.ps1 = '>>> '\n"  # what Lightning takes for a notebook
        "from pathlib import Path\n"
        "from qdeq_qiskit.training import TrainingRecipe\n"
        "from qdeq_qiskit.training.fit import fit\n"
        f"fit(TrainingRecipe.load({str(recipe)!r}, [{TWO!r}]), out=Path({str(tmp_path / 'run')!r}), report=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert RunDirectory(tmp_path / "run").finished
    check_nothing_is_left(here)
