"""What TensorBoard shows of a run: an event file, written by the thread that trains."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any, BinaryIO, final

from lightning.pytorch.loggers.logger import Logger

from qdeq_qiskit.files import CannotWriteError


@final
class EventLog(Logger):
    """One event for each epoch.

    TensorBoard's own writer hands its events to a thread. An interrupt that arrives in between can leave the two
    waiting for each other for ever, and of a full disk it tells whoever writes next, or nobody.

    Args:
        folder: where the file goes; each process begins one of its own.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder
        self._file: BinaryIO | None = None

    @property
    def name(self) -> str:
        """Lightning names folders by it; there is one."""
        return ""

    @property
    def version(self) -> str:
        """As `name`."""
        return ""

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run has its recipe."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add one event.

        Raises:
            CannotWriteError: the disk is full or cannot be written to.
        """
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in metrics.items()]
        try:
            file = self._opened(step or 0)
            _append(file, Event(wall_time=time.time(), step=step or 0, summary=Summary(value=values)))
        except OSError as error:
            where = error.filename or self._folder
            raise CannotWriteError(error.errno, error.strerror or str(error), str(where)) from None

    def finalize(self, status: str) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _opened(self, step: int) -> BinaryIO:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        if self._file is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            # TensorBoard reads files in the order of their names.
            name = f"events.out.tfevents.{time.time_ns():020d}.{os.getpid()}"
            self._file = (self._folder / name).open("wb", buffering=0)
            _append(self._file, Event(wall_time=time.time(), file_version="brain.Event:2"))
            # Events from this step on that an earlier process left behind are void: they come once more.
            start = SessionLog(status=SessionLog.START)
            _append(self._file, Event(wall_time=time.time(), step=step, session_log=start))
        return self._file


def _append(file: BinaryIO, event: Any) -> None:
    """One record, in one write."""
    from tensorboard.summary.writer.record_writer import RecordWriter

    record = io.BytesIO()
    RecordWriter(record).write(event.SerializeToString())
    file.write(record.getvalue())
