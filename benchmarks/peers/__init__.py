"""Other libraries beside this one: the same circuit, the same numbers, asserted before a clock starts.

A peer is one file in `contenders/`. `rows` measures; `python -m benchmarks.peers FILE` makes the tables and the picture
of the documentation from what was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..row import Row


def rows(*, quick: bool) -> Iterator[Row]:
    """Ours against the fastest of the others, and all that was measured."""
    from .report_rows import peer_rows

    return peer_rows(quick=quick)
