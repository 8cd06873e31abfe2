"""What is tried again, how long, and what is not.

A fault is transient if the same request may succeed a little later: no connection, no answer in time, a server's error
(5xx), too many requests (429), and jobs that failed of the codes for which IBM's error registry
(https://quantum.cloud.ibm.com/docs/errors) says to try again. All else fails the same way every time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from qdeq_qiskit.backends.runtime.errors import HardwareError, ProcessorError

T = TypeVar("T")

_log = logging.getLogger(__name__)

_TRIES = 9  # with the waits below: for about four minutes
_FIRST_WAIT, _LONGEST_WAIT = 1.0, 120.0
_SILENT_WAIT = 4.0  # seconds; whoever waits longer is told

OPENING_TRIES = 4
"""How often a processor is opened; nothing is under way then, and somebody sits there."""

JOB_TRIES = 3
"""How often a job is handed in, if it fails of a transient cause."""

TRANSIENT_CODES = frozenset(
    {1000, 1006, 1008, 1010, 1011, 1012, 1202, 1999, 3210, 3212, 3233, 3234, 3235, 3251, 3253, 3300, 3301, 3458}
    | {4001, 5203, 5204, 9999}
)
"""Codes of a failed job that is worth another try; 4001 is a session that was closed, and another one is opened."""


class TransientFault(HardwareError):
    """The service could not be asked, or could not answer; the same request may succeed a little later."""


def is_transient_failure(reason: str | None) -> bool:
    """Whether a failed job is worth another try, by the error code in its reason."""
    codes = re.findall(r"[Ee]rror code:?\s*(\d{4})", reason or "")
    return bool(codes) and int(codes[0]) in TRANSIENT_CODES


def patiently(call: Callable[[], T], *, sleep: Callable[[float], None], doing: str, tries: int = _TRIES) -> T:
    """What `call` returns, which is called again after a while as long as its faults are transient.

    Args:
        call: may be called any number of times.
        sleep: waits for some seconds.
        doing: what it does, for the message.
        tries: how often it is called at most.

    Raises:
        ProcessorError: it did not succeed, as a rule for minutes.
    """

    def tell(state: RetryCallState) -> None:
        wait = state.upcoming_sleep
        if wait >= _SILENT_WAIT and state.outcome is not None:
            _log.warning("%s: %s; trying again in %.0f s", doing, state.outcome.exception(), wait)

    retrying = Retrying(
        retry=retry_if_exception_type(TransientFault),
        stop=stop_after_attempt(tries),
        wait=wait_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT),
        sleep=sleep,
        before_sleep=tell,
        reraise=True,
    )
    try:
        return retrying(call)
    except TransientFault as fault:
        raise ProcessorError(
            f"{doing}: tried {tries} times in vain ({fault}); nothing is lost, `qdeq resume` goes on from here"
        ) from None


def waits(first: float, *, factor: float = 2.0, longest: float) -> Callable[[int], float]:
    """Seconds to wait before the try of a number: growing from the first one, at most the longest."""
    return lambda number: float(min(longest, first * factor**number))
