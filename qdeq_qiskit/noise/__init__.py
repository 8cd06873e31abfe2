"""What goes wrong: noise models, snapshots of processors, and what mitigates noise.

A `NoiseRecipe` lists sources of noise (`SOURCES` holds their kinds). Built for a compiled circuit it is a
`CircuitNoise`: a channel after each gate and an assignment matrix at each readout, which `to_aer` hands to Qiskit Aer.
Names are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeq_qiskit.first_use import on_first_use

if TYPE_CHECKING:
    from qdeq_qiskit.noise.assignment_inversion import inverted_assignment
    from qdeq_qiskit.noise.calibration import load_calibration, save_calibration
    from qdeq_qiskit.noise.circuit_noise import CircuitNoise
    from qdeq_qiskit.noise.mitigation import MitigationCost, MitigationRecipe
    from qdeq_qiskit.noise.recipe import NoiseRecipe
    from qdeq_qiskit.noise.snapshots import Snapshot, fake_backends
    from qdeq_qiskit.noise.sources import SOURCES, AnySource, Source
    from qdeq_qiskit.noise.sources.amplitude_damping import AmplitudeDamping
    from qdeq_qiskit.noise.sources.depolarizing import Depolarizing
    from qdeq_qiskit.noise.sources.noise_model import AerNoise
    from qdeq_qiskit.noise.sources.over_rotation import OverRotation
    from qdeq_qiskit.noise.sources.phase_damping import PhaseDamping
    from qdeq_qiskit.noise.sources.readout import Readout
    from qdeq_qiskit.noise.sources.snapshot import SnapshotNoise
    from qdeq_qiskit.noise.sources.thermal_relaxation import GateDurations, ThermalRelaxation
    from qdeq_qiskit.noise.touched import check_touched

_HOME = {
    "AerNoise": "sources.noise_model",
    "AmplitudeDamping": "sources.amplitude_damping",
    "AnySource": "sources",
    "CircuitNoise": "circuit_noise",
    "Depolarizing": "sources.depolarizing",
    "GateDurations": "sources.thermal_relaxation",
    "MitigationCost": "mitigation",
    "MitigationRecipe": "mitigation",
    "NoiseRecipe": "recipe",
    "OverRotation": "sources.over_rotation",
    "PhaseDamping": "sources.phase_damping",
    "Readout": "sources.readout",
    "SOURCES": "sources",
    "Snapshot": "snapshots",
    "SnapshotNoise": "sources.snapshot",
    "Source": "sources",
    "ThermalRelaxation": "sources.thermal_relaxation",
    "check_touched": "touched",
    "fake_backends": "snapshots",
    "inverted_assignment": "assignment_inversion",
    "load_calibration": "calibration",
    "save_calibration": "calibration",
}

__all__ = [
    "SOURCES",
    "AerNoise",
    "AmplitudeDamping",
    "AnySource",
    "CircuitNoise",
    "Depolarizing",
    "GateDurations",
    "MitigationCost",
    "MitigationRecipe",
    "NoiseRecipe",
    "OverRotation",
    "PhaseDamping",
    "Readout",
    "Snapshot",
    "SnapshotNoise",
    "Source",
    "ThermalRelaxation",
    "check_touched",
    "fake_backends",
    "inverted_assignment",
    "load_calibration",
    "save_calibration",
]

__getattr__, __dir__ = on_first_use(__name__, _HOME)
