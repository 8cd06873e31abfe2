"""What can go wrong in a run, by whose doing; each message says what and what would be right."""

from __future__ import annotations


class DataError(ValueError):
    """Data that cannot be used."""


class RunError(ValueError):
    """A run directory that cannot be used."""


class RunIsLockedError(RunError):
    """A run that another process is training."""


class SetupError(ValueError):
    """Parts of a recipe, each fine in itself, that do not fit together or do not work on this machine."""


class TrainingError(RuntimeError):
    """Training that cannot go on."""


class LostProcessError(Exception):
    """One of the processes of a run has ended before its time; a `TrainingError` tells users so."""
