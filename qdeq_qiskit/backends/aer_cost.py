"""What circuits on Aer cost, measured before the work starts."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import Tensor

from qdeq_qiskit.backends.machine import Machine


def aer_cost(machine: Machine, evaluate: Callable[[Tensor], object]) -> str:
    """What a row of angles costs: circuits, and seconds as measured on one.

    Args:
        machine: which circuits run.
        evaluate: runs them for rows of angles, (N, G).
    """
    rows = torch.zeros(1, len(machine.rules), dtype=torch.float64)
    evaluate(rows)  # the first job starts Aer, which takes longer
    start = time.perf_counter()
    evaluate(rows)
    seconds = time.perf_counter() - start
    circuits, wires = _count(machine.circuits_per_row, "circuit"), _count(machine.circuit.num_qubits, "wire")
    return (
        f"every evaluation of a sample runs {circuits} of {wires} on Aer, {seconds:.2g} seconds in all; a solve "
        "takes tens of evaluations a sample, a derivative two or four for each angle"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
