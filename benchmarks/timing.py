"""Wall-clock timings that share a machine fairly."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds of repeated calls, in the order in which they were made."""

    seconds: tuple[float, ...]

    @property
    def minimum(self) -> float:
        """The fastest call, in milliseconds: what the code costs when nothing else runs."""
        return 1000 * min(self.seconds)

    @property
    def median(self) -> float:
        """The middle one, in milliseconds: what a user waits for."""
        return 1000 * statistics.median(self.seconds)

    def summary(self) -> dict[str, float | int]:
        """For the JSON file; the quarters tell whether what was timed changed meanwhile, as a model in training may."""
        quarter = max(1, len(self.seconds) // 4)
        return {
            "min_ms": self.minimum,
            "median_ms": self.median,
            "first_quarter_median_ms": Timing(self.seconds[:quarter]).median,
            "last_quarter_median_ms": Timing(self.seconds[-quarter:]).median,
            "repetitions": len(self.seconds),
        }


def interleaved(
    cases: Mapping[str, Callable[[], object]], *, repetitions: Mapping[str, int] | int, warmup: int = 3, burst: int = 1
) -> dict[str, Timing]:
    """Time several things turn by turn, so that a slow minute of the machine hits all of them.

    Args:
        cases: what to call, by name.
        repetitions: calls of each case, or of all. A case with fewer calls takes its turns spread evenly.
        warmup: calls of each case beforehand, not counted.
        burst: calls of a case in a row in each of its turns, as training makes steps. With more than one, another
            precedes them that is not counted: it finds the caches full of what the case before left there.
    """
    counts = {name: repetitions if isinstance(repetitions, int) else repetitions[name] for name in cases}
    turns = {name: max(1, count // burst) for name, count in counts.items()}
    for call in cases.values():
        for _ in range(warmup):
            call()
    gc.collect()
    rounds = max(turns.values())
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(rounds):
        for name, call in cases.items():
            if (turn + 1) * turns[name] // rounds > turn * turns[name] // rounds:
                if burst > 1:
                    call()
                for _ in range(burst):
                    start = time.perf_counter()
                    call()
                    seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(times)) for name, times in seconds.items()}
