"""What the figures were measured on: hardware and versions, nothing that tells where."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = (
    "qdeq-qiskit",
    "torch",
    "qiskit",
    "qiskit-aer",
    "qiskit-aer-gpu",
    "qiskit-machine-learning",
    "lightning",
    "numpy",
    "scikit-learn",
    "pennylane",
    "pennylane-lightning",
    "torchdeq",
)


def describe_machine() -> dict[str, Any]:
    """CPU, cores, threads, system, versions."""
    import torch

    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: found for name in PACKAGES if (found := _version(name)) is not None},
    }


def load_average() -> float | None:
    """Processes that wanted a core during the last minute; a figure taken while others worked is worth less."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
