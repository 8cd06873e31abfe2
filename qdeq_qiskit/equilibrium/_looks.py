"""Where the host looks at what an accelerator has computed.

A look makes the host wait for everything that it has asked the device for, so a solve looks once, when it is over; and
what is to be warned of is counted on the device, and told at the next look. On a CPU a look costs nothing.
"""

from __future__ import annotations

import warnings
from threading import Lock

import torch
from torch import Tensor

_put_off: list[tuple[Tensor, str]] = []
"""What is yet to be warned of: how many samples, on the device, and the message, in which {count} stands for them."""
_lock = Lock()  # backward passes on a GPU have a thread of their own


def on_accelerator(tensor: Tensor) -> bool:
    """Whether the host would have to wait for a number of this tensor."""
    return tensor.device.type != "cpu"


def holds(condition: Tensor) -> bool:
    """Whether a condition, a boolean scalar, holds; also warns of what was put off until a look."""
    if not on_accelerator(condition) or not _put_off:
        return bool(condition)
    taken = _taken(condition.device)
    # One transfer for all of it.
    answer, *counts = torch.stack([condition.long(), *(count for count, _ in taken)]).tolist()
    _warn(taken, counts)
    return bool(answer)


def warn_later(count: Tensor, message: str) -> None:
    """Has `message` told at the next look, if `count`, an int64 scalar on an accelerator, is not 0 then."""
    with _lock:
        _put_off.append((count, message))


def tell_put_off_warnings() -> None:
    """Tells what is to be warned of and was put off, so as not to wait for a device; as at the end of an epoch."""
    taken = _taken(None)
    _warn(taken, [int(count) for count, _ in taken])


def _taken(device: torch.device | None) -> list[tuple[Tensor, str]]:
    """What was put off on a device, or on any, which is then no longer put off."""
    with _lock:
        taken = [each for each in _put_off if device is None or each[0].device == device]
        _put_off[:] = [each for each in _put_off if device is not None and each[0].device != device]
    return taken


def _warn(taken: list[tuple[Tensor, str]], counts: list[int]) -> None:
    for (_, message), count in zip(taken, counts, strict=True):
        if count:
            warnings.warn(message.format(count=count), RuntimeWarning, stacklevel=3)
