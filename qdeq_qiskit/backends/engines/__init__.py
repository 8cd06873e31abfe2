"""Exact engines: the columns of a weight block, on Aer or in torch."""

from __future__ import annotations

import torch

from qdeq_qiskit.backends.engines.engine import Engine
from qdeq_qiskit.backends.engines.torch_engine import TorchEngine
from qdeq_qiskit.backends.program import GateProgram

__all__ = ["ENGINES", "Engine", "TorchEngine", "make_engine", "resolve_engine", "torch_device_and_dtype"]

ENGINES = ("auto", "torch", "aer")
DTYPES = {"single": torch.float32, "double": torch.float64}


def resolve_engine(name: str) -> str:
    """The engine that `name` stands for: "auto" is torch, which was the faster one in every case measured.

    Raises:
        ValueError: no such engine.
    """
    if name not in ENGINES:
        raise ValueError(f"engine = {name!r}: choose one of {', '.join(ENGINES)}")
    return "torch" if name == "auto" else name


def make_engine(
    name: str,
    program: GateProgram,
    *,
    num_columns: int,
    device: str | torch.device = "cpu",
    precision: str = "single",
) -> Engine:
    """An engine for one weight block.

    Args:
        name: "auto", "torch" or "aer".
        program: the weight block.
        num_columns: d, the number of basis states that inputs can reach.
        device: "cpu" or "cuda".
        precision: "single" or "double".

    Raises:
        ValueError: an unknown name or precision, or a GPU that is not there.
        ImportError: the Aer engine without Aer.
    """
    dtype = _dtype(precision)
    if resolve_engine(name) == "torch":
        where, dtype = torch_device_and_dtype(device, precision)
        return TorchEngine(program, num_columns=num_columns, device=where, dtype=dtype)
    from qdeq_qiskit.backends.engines.aer_engine import AerEngine

    return AerEngine(program, num_columns=num_columns, device=torch.device(device), dtype=dtype)


def torch_device_and_dtype(device: str | torch.device, precision: str) -> tuple[torch.device, torch.dtype]:
    """Where and in which real dtype torch is to compute.

    Raises:
        ValueError: an unknown precision, or a GPU that is not there.
    """
    where = torch.device(device)
    if where.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device = '{where}': torch sees no GPU here; use device = 'cpu' or a CUDA build of torch")
    if where.type == "cuda" and (where.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device = '{where}': torch sees {torch.cuda.device_count()} GPUs here, numbered from 0")
    return where, _dtype(precision)


def _dtype(precision: str) -> torch.dtype:
    if precision not in DTYPES:
        raise ValueError(f"precision = {precision!r}: choose one of {', '.join(DTYPES)}")
    return DTYPES[precision]
