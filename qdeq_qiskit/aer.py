"""Qiskit Aer, imported on first use."""

from __future__ import annotations

import importlib
from types import ModuleType


def require_aer() -> ModuleType:
    """The module qiskit_aer, imported on first use.

    Raises:
        ImportError: Aer is not installed, or its shared libraries cannot be loaded; says which package to install.
    """
    try:
        return importlib.import_module("qiskit_aer")
    except ImportError as error:
        raise ImportError(
            "this needs Qiskit Aer, which could not be imported "
            f"({error}). Install one of the two packages, never both, since they hold the same module: "
            "`pip install qiskit-aer` for the CPU, or `pip install qiskit-aer-gpu` (Linux, CUDA 12) "
            "for an NVIDIA GPU; `engine: torch` needs neither"
        ) from error


def require_aer_noise() -> ModuleType:
    """The module qiskit_aer.noise, imported on first use.

    Raises:
        ImportError: as `require_aer`.
    """
    require_aer()
    return importlib.import_module("qiskit_aer.noise")
