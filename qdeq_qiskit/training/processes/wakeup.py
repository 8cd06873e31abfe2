"""Hearing of signals while the main thread is where Python's handlers do not run."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def signals_received() -> Iterator[list[int]]:
    """A list to which the number of each signal is added as it comes, as long as the block lasts.

    Python calls handlers between two bytecodes of the main thread, which may be a long time in a library that waits for
    another process. Elsewhere than in the main thread the list stays empty.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    listener = threading.Thread(target=_listen, args=(reader, received, before), daemon=True)
    listener.start()
    try:
        yield received
    finally:
        signal.set_wakeup_fd(before)
        os.close(writer)  # so that the listener reads the end
        listener.join()
        os.close(reader)


def _listen(reader: int, received: list[int], before: int) -> None:
    while numbers := os.read(reader, 64):
        received.extend(numbers)
        if before >= 0:  # whoever listened before, as an event loop does, goes on hearing
            with contextlib.suppress(OSError):
                os.write(before, numbers)
