"""Ctrl-C, and the SIGTERM that a batch system sends before it kills: both end a run in order.

Training stops between two batches: an exception in the middle of one may be swallowed by a destructor, or leave a lock
behind that somebody waits for. Where the next batch does not come, or the user asks again, it stops at once; and where
even that does not help, the process ends. Whatever was written stays whole, since files appear complete or not at all.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Any, final

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

SECONDS_FOR_A_BATCH = 2.0
SECONDS_TO_STOP = 5.0


@final
class Terminated(KeyboardInterrupt):
    """SIGTERM; whatever cleans up after a Ctrl-C does so after it, too.

    Attributes:
        exit_code: what shells expect of a command that it ended.
    """

    exit_code = 128 + signal.SIGTERM


@final
class Stopped(BaseException):
    """Training was asked to stop. No KeyboardInterrupt, which Lightning turns into an exit with signals ignored."""


def _terminate(signum: int, frame: FrameType | None) -> None:
    raise Terminated


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """For a while, SIGTERM raises `Terminated` where it would have ended the process without a word.

    Processes that others start and end (workers) and programs with a handler of their own stay as they are.
    """
    import multiprocessing

    if not (
        threading.current_thread() is threading.main_thread()
        and multiprocessing.parent_process() is None
        and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@final
class StopBetweenBatches(Callback):
    """Makes training stop after the batch during which a signal came."""

    def __init__(self) -> None:
        self._received: int | None = None
        self._asked_again = False
        self._listening = False
        self._handlers: dict[signal.Signals, Any] = {}

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Receive signals for a while; a handler that somebody else set stays in place.

        Raises:
            KeyboardInterrupt, Terminated: there was a signal, and training has stopped.
        """
        usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: _terminate}
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.getsignal(number) for number in usual}
        self._handlers = {
            number: self._on_signal if handler is usual[number] else handler
            for number, handler in before.items()
            if handler is not None  # one that was not set in Python, and cannot be set from there
        }
        self._listening = True
        try:
            self._set_handlers()
            yield
        except Stopped:
            pass
        finally:
            self._listening = False
            for number in self._handlers:
                signal.signal(number, before[number])
        if self._received is not None:
            raise Terminated if self._received == signal.SIGTERM else KeyboardInterrupt

    @property
    def asked(self) -> bool:
        """Whether a signal came."""
        return self._received is not None

    def heeds(self, number: int) -> bool:
        """Whether a signal is for this to act upon, and no handler of somebody else's."""
        return number in self._handlers and self._handlers[signal.Signals(number)] == self._on_signal

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Undo what Lightning did a moment ago: its own handler of SIGTERM ends training as if all epochs were done."""
        self._set_handlers()

    def _set_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop if a signal came."""
        self._stop_if_asked()

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop if a signal came."""
        self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._received is not None:
            raise Stopped

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        # No `threading.Thread`: the interrupted code may be holding the lock that starting one takes.
        if not self._listening:  # at the very end, where it is enough to know
            self._received = self._received or number
            return
        if self._received is None:
            self._received = number
            # A signal of the system, which also ends the wait for a lock or for a file.
            ask_again = partial(signal.pthread_kill, threading.main_thread().ident or 0, number)
            _thread.start_new_thread(self._after, (SECONDS_FOR_A_BATCH, ask_again))
            return
        if not self._asked_again and not hasattr(sys, "ps1"):  # a notebook's process is not ours to end
            self._asked_again = True
            _thread.start_new_thread(self._after, (SECONDS_TO_STOP, partial(_end_process, number)))
        raise Stopped

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        time.sleep(seconds)
        if self._listening:
            action()


def _end_process(number: int) -> None:
    """End without any cleaning up, which hangs."""
    show_cursor = b"\x1b[?25h" if os.isatty(2) else b""
    os.write(2, show_cursor + b"\nqdeq: interrupted, and ended the hard way; what was written is whole\n")
    os._exit(128 + number)
