"""Messages of tensors and plain values between two interpreters, over pipes."""

from __future__ import annotations

import io
import struct
from typing import IO, Any

import torch

Message = dict[str, Any]


def send(stream: IO[bytes], message: Message) -> None:
    """Writes one message."""
    buffer = io.BytesIO()
    torch.save(message, buffer)
    stream.write(struct.pack("<Q", buffer.tell()) + buffer.getvalue())
    stream.flush()


def receive(stream: IO[bytes]) -> Message:
    """Reads one message.

    Raises:
        EOFError: the other side has gone.
    """
    header = stream.read(8)
    if len(header) < 8:
        raise EOFError("the other interpreter has ended")
    (size,) = struct.unpack("<Q", header)
    message: Message = torch.load(io.BytesIO(stream.read(size)), weights_only=True)
    return message
