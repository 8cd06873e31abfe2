"""A simulator whose runs are independent though they are given one seed. Import it where Aer is known to be there."""

from __future__ import annotations

from typing import Any, final

import numpy as np
from qiskit_aer import AerSimulator


@final
class ReseedingSimulator(AerSimulator):
    """Runs after one another, under one seed, draw different shots; a copy starts again from the first one.

    Runtime's local service copies the simulator for each job and gives every circuit of the job the same seed. The
    shots at all noise factors, and those of the calibration, would then be drawn with the same random numbers.
    """

    _runs = 0

    def run(self, circuits: Any, parameter_binds: Any = None, **options: Any) -> Any:
        """As for any simulator; `seed_simulator` is the seed of all runs together."""
        seed = options.get("seed_simulator")
        if seed is not None:
            options["seed_simulator"] = int(np.random.SeedSequence([seed, self._runs]).generate_state(1)[0]) >> 1
            self._runs += 1
        return super().run(circuits, parameter_binds, **options)
