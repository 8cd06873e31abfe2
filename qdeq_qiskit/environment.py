"""What is installed here, and what it would run on."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from qdeq_qiskit import __version__

PACKAGES = ("torch", "qiskit", "qiskit-machine-learning", "qiskit-ibm-runtime", "lightning", "numpy", "scikit-learn")
AER_PACKAGES = ("qiskit-aer", "qiskit-aer-gpu")


def describe_environment() -> list[tuple[str, str]]:
    """Rows of (what, which) for a table: versions, devices, engine."""
    import torch

    from qdeq_qiskit.backends.aer import aer_devices, torch_devices
    from qdeq_qiskit.backends.engines import resolve_engine

    try:
        aer = ", ".join(aer_devices())
    except ImportError as error:
        aer = f"not available: {error}"
    rows = [("qdeq_qiskit", __version__), ("python", f"{platform.python_version()} on {platform.platform()}")]
    rows += [(package, _version(package)) for package in PACKAGES]
    rows += [(package, _version(package)) for package in AER_PACKAGES if _version(package) != "not installed"]
    rows += [
        ("torch sees", ", ".join(torch_devices())),
        ("Aer sees", aer),
        ("threads", str(torch.get_num_threads())),
        ("engine: auto", f"{resolve_engine('auto')} (engine: aer selects Qiskit Aer; device: cuda selects a GPU)"),
    ]
    return rows


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
