"""What keeps a model from being measured once and solved classically."""

from __future__ import annotations


class SurrogateError(ValueError):
    """The operators of a model cannot be measured, or are not what they are asked to be; the message says why."""
