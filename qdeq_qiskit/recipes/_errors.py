"""The one error of recipes."""

from __future__ import annotations


class RecipeError(ValueError):
    """A recipe that cannot be used; the message names the file, the key, the value, and what would be right.

    It is one line of printable characters, whatever stood in the file.
    """

    def __init__(self, message: str) -> None:
        super().__init__("".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in message))
