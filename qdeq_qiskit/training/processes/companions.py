"""Starting the other processes of a run, watching them, and ending them."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import final

from qdeq_qiskit.files import write_atomically
from qdeq_qiskit.training.errors import LostProcessError, TrainingError
from qdeq_qiskit.training.interruption import SECONDS_FOR_A_BATCH, StopBetweenBatches, Stopped
from qdeq_qiskit.training.processes.assignment import ASSIGNMENT, LOST_CONTACT, STORE, Assignment, complaints, ready
from qdeq_qiskit.training.processes.share import Share
from qdeq_qiskit.training.processes.strategy import check_not_joined, joined
from qdeq_qiskit.training.processes.wakeup import signals_received

SECONDS_TO_END = 10.0
SECONDS_TO_NOTICE = 30.0
_POLL = 0.05
_PROGRAM = "from qdeq_qiskit.training.processes.companion import main; main()"


@contextlib.contextmanager
def accompanied(assignment: Assignment, stop: StopBetweenBatches) -> Iterator[Share]:
    """Have the other processes of a run beside this one, which is the first; none of them outlives the block.

    Args:
        assignment: what they are to do.
        stop: told when the user wants the run to stop.

    Raises:
        LostProcessError: one of them has ended before its time.
        SetupError: `torch.distributed` is in use already.
    """
    check_not_joined()
    share = Share(0, assignment.processes)
    with tempfile.TemporaryDirectory(prefix="qdeq-processes-") as name, _started(assignment, Path(name)) as companions:
        companions.wait_until_ready(stop)
        with (
            companions.watched(stop),
            companions.explaining(stop),
            joined(share, Path(name) / STORE, assignment.device),
            companions.explaining(stop),  # once more within, as leaving a group may wait for the others
        ):
            yield share
        companions.wait_for_end()


@contextlib.contextmanager
def _started(assignment: Assignment, folder: Path) -> Iterator[_Companions]:
    write_atomically(folder / ASSIGNMENT, pickle.dumps(assignment))
    companions = _Companions(folder)
    try:
        for rank in range(1, assignment.processes):
            companions.start(rank, assignment)
        yield companions
    finally:
        companions.end()


@final
class _Companions:
    """The processes beside the first one; they write nothing, so they may be ended at any moment.

    Each of them ends by itself when its standard input does, which is when this process has died, however that was.
    They are in sessions of their own: Ctrl-C on the terminal is for the first process alone.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._over = threading.Event()
        self._fallen: str | None = None

    def start(self, rank: int, assignment: Assignment) -> None:
        """Start one."""
        with complaints(self._folder, rank).open("wb") as file:
            self._processes[rank] = subprocess.Popen(
                [sys.executable, "-P", "-c", _PROGRAM, str(self._folder), str(rank)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=file,
                env=assignment.environment(rank),
                start_new_session=True,
            )

    def wait_until_ready(self, stop: StopBetweenBatches) -> None:
        """Wait until all have read what they need and built the model."""
        waiting = set(self._processes)
        while waiting:
            if stop.asked:  # first, since who asked may have ended the others, too
                raise Stopped
            self._check()
            waiting = {rank for rank in waiting if not ready(self._folder, rank).exists()}
            time.sleep(_POLL)
        (self._folder / ASSIGNMENT).unlink()  # as large as the training set

    @contextlib.contextmanager
    def watched(self, stop: StopBetweenBatches) -> Iterator[None]:
        """See to it meanwhile that nobody waits for a process that is gone, or for one that keeps the user waiting."""
        with signals_received() as received:
            watcher = threading.Thread(target=self._watch, args=(stop, received), daemon=True)
            watcher.start()
            try:
                yield
            finally:
                self._over.set()
                watcher.join()

    @contextlib.contextmanager
    def explaining(self, stop: StopBetweenBatches) -> Iterator[None]:
        """Where this process fails because another one did, or was ended, say that instead; end the others."""
        try:
            yield
        except BaseException as error:
            may_be_theirs = isinstance(error, RuntimeError) and not isinstance(error, TrainingError)
            if may_be_theirs and not stop.asked:
                self._wait_for_fall()
            self._kill()
            if may_be_theirs and stop.asked:
                raise Stopped from None
            if may_be_theirs and self._fallen is not None:
                raise LostProcessError(self._fallen) from None
            raise

    def wait_for_end(self) -> None:
        """Let them end by themselves."""
        deadline = time.monotonic() + SECONDS_TO_END
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))

    def end(self) -> None:
        """End those that are still there."""
        self._kill()
        for process in self._processes.values():
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    def _kill(self) -> None:
        for process in self._processes.values():
            process.kill()

    def _check(self) -> None:
        self._note_fall()
        if self._fallen is not None:
            raise LostProcessError(self._fallen)

    def _wait_for_fall(self) -> None:
        """The connection of a process may be gone a moment before the process is."""
        deadline = time.monotonic() + 2.0
        while self._fallen is None and time.monotonic() < deadline:
            self._note_fall()
            time.sleep(_POLL)

    def _note_fall(self) -> bool:
        """Whether one has ended before its time; notes which, and why: the one that failed before the others."""
        ended = {rank: process.poll() for rank, process in self._processes.items()}
        codes = {rank: code for rank, code in ended.items() if code not in (None, 0)}
        if not codes or self._fallen is not None:
            return bool(codes)
        rank = min(codes, key=lambda each: codes[each] == LOST_CONTACT)
        self._fallen = f"process {rank + 1} of {len(ended) + 1} {self._end_of(rank, codes[rank] or 0)}"
        return True

    def _end_of(self, rank: int, code: int) -> str:
        if code < 0:
            name = signal.Signals(-code).name
            hint = ", as the system does where memory runs out" if name == "SIGKILL" else ""
            return f"was ended by {name}{hint}"
        lines = complaints(self._folder, rank).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"failed: {lines[-1]}" if lines else f"ended with code {code}"

    def _watch(self, stop: StopBetweenBatches, received: list[int]) -> None:
        """In a thread: the first process may be waiting for the others where Python does not hear signals."""
        while not self._over.wait(_POLL):
            if self._note_fall():
                break
            if any(stop.heeds(number) for number in received):
                if self._over.wait(SECONDS_FOR_A_BATCH + 1):
                    return
                break
        else:
            return
        self._kill()
        if not self._over.wait(SECONDS_TO_NOTICE) and not hasattr(sys, "ps1"):
            reason = self._fallen or "another process does not answer"
            os.write(2, f"\nqdeq: {reason}, and this one waits for it; what was written is whole\n".encode())
            shutil.rmtree(self._folder, ignore_errors=True)
            os._exit(1)
