"""What is installed and what is there: Qiskit Aer, and the devices that Aer and torch see."""

from __future__ import annotations

import importlib
from types import ModuleType

import torch


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


def aer_devices() -> list[str]:
    """The devices that the installed Aer can simulate on, such as ["CPU"] or ["CPU", "GPU"].

    Raises:
        ImportError: Aer is not installed.
    """
    return list(require_aer().AerSimulator().available_devices())


def torch_devices() -> list[str]:
    """The devices that torch sees: "cpu", then one entry a GPU, such as "cuda:0 (NVIDIA A100)"."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return ["cpu", *(f"cuda:{index} ({torch.cuda.get_device_name(index)})" for index in range(count))]
