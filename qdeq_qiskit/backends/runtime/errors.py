"""What can go wrong between a solve and a processor; each message is one sentence for the user."""

from __future__ import annotations


class HardwareError(Exception):
    """A processor cannot be used, or did not do what it was asked; the message says what would help."""


class AccountError(HardwareError):
    """No account, or one that does not allow what was asked."""


class ProcessorError(HardwareError):
    """No such processor, it is too small or paused, or the circuit is not what it can run."""


class JobError(HardwareError):
    """A job failed, was cancelled, or its result cannot be had; the message names the job and the reason."""


class BudgetError(HardwareError):
    """What is asked for takes more of the processor's time than the budget has left."""


class LedgerError(HardwareError):
    """The ledger is damaged, in use, or of other work than what is resumed with it."""


class StillRunning(HardwareError):
    """A job is not finished, and nobody wants to wait; `qdeq resume` asks for it again."""
