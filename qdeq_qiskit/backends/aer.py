"""What is installed and what is there: Qiskit Aer, and the devices that Aer and torch see."""

from __future__ import annotations

import torch

from qdeq_qiskit.aer import require_aer

__all__ = ["aer_devices", "require_aer", "torch_devices"]


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
