"""What goes wrong: noise models, snapshots of processors, and what mitigates noise.

A `NoiseRecipe` lists sources of noise (`SOURCES` holds their kinds). Built for a compiled circuit it is a
`CircuitNoise`: a channel after each gate and an assignment matrix at each readout, which `to_aer` hands to Qiskit Aer.
Names are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdeq_qiskit.noise.circuit_noise import CircuitNoise
    from qdeq_qiskit.noise.recipe import NoiseRecipe
    from qdeq_qiskit.noise.snapshots import fake_backends
    from qdeq_qiskit.noise.sources import SOURCES, AnySource, Source
    from qdeq_qiskit.noise.touched import check_touched

_HOME = {
    "SOURCES": "sources",
    "AnySource": "sources",
    "CircuitNoise": "circuit_noise",
    "NoiseRecipe": "recipe",
    "Source": "sources",
    "check_touched": "touched",
    "fake_backends": "snapshots",
}

__all__ = ["SOURCES", "AnySource", "CircuitNoise", "NoiseRecipe", "Source", "check_touched", "fake_backends"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
