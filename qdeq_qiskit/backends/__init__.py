"""Where circuits are evaluated: exactly (on Aer or in torch), with shots, with noise, on processors or copies of them.

`BACKENDS` holds the kinds of backends that recipes name. `HeisenbergEstimator`, `HeisenbergGradient` and `QNNConnector`
are the same exact evaluation for users of Qiskit's own `EstimatorQNN` and `TorchConnector`. Names are imported on first
use, so that nothing is loaded that is not needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdeq_qiskit.first_use import on_first_use

if TYPE_CHECKING:
    from qdeq_qiskit.backends.aer import aer_devices, require_aer, torch_devices
    from qdeq_qiskit.backends.amplitude import AmplitudeAngles
    from qdeq_qiskit.backends.connector import QNNConnector
    from qdeq_qiskit.backends.estimator import HeisenbergEstimator, HeisenbergGradient
    from qdeq_qiskit.backends.exact import ExactLayer
    from qdeq_qiskit.backends.kinds import BACKENDS, AnyBackend, Backend, load_backend
    from qdeq_qiskit.backends.kinds.exact import ExactBackend
    from qdeq_qiskit.backends.kinds.ibm import IBMBackend
    from qdeq_qiskit.backends.kinds.noisy import NoisyBackend
    from qdeq_qiskit.backends.kinds.shots import ShotsBackend
    from qdeq_qiskit.backends.kinds.snapshot import SnapshotBackend
    from qdeq_qiskit.backends.noisy import NoisyEstimator, NoisyGradient, NoisyLayer
    from qdeq_qiskit.backends.sampled import SampledLayer

_HOME = {
    "BACKENDS": "kinds",
    "AmplitudeAngles": "amplitude",
    "AnyBackend": "kinds",
    "Backend": "kinds",
    "ExactBackend": "kinds.exact",
    "ExactLayer": "exact",
    "HeisenbergEstimator": "estimator",
    "HeisenbergGradient": "estimator",
    "IBMBackend": "kinds.ibm",
    "NoisyBackend": "kinds.noisy",
    "NoisyEstimator": "noisy",
    "NoisyGradient": "noisy",
    "NoisyLayer": "noisy",
    "QNNConnector": "connector",
    "SampledLayer": "sampled",
    "ShotsBackend": "kinds.shots",
    "SnapshotBackend": "kinds.snapshot",
    "aer_devices": "aer",
    "load_backend": "kinds",
    "require_aer": "aer",
    "torch_devices": "aer",
}

__all__ = [
    "BACKENDS",
    "AmplitudeAngles",
    "AnyBackend",
    "Backend",
    "ExactBackend",
    "ExactLayer",
    "HeisenbergEstimator",
    "HeisenbergGradient",
    "IBMBackend",
    "NoisyBackend",
    "NoisyEstimator",
    "NoisyGradient",
    "NoisyLayer",
    "QNNConnector",
    "SampledLayer",
    "ShotsBackend",
    "SnapshotBackend",
    "aer_devices",
    "load_backend",
    "require_aer",
    "torch_devices",
]

__getattr__, __dir__ = on_first_use(__name__, _HOME)
