"""PennyLane's lightning.qubit with adjoint differentiation: in C++, one sample after another."""

from __future__ import annotations

import numpy as np
import torch

from ..layer_case import CircuitLayer
from ..layer_peer import LayerPeer
from ..peer import Operation
from ..problem import Problem
from ._pennylane import pennylane_layer


def _make(problem: Problem, dtype: torch.dtype) -> CircuitLayer:
    complex_type = np.complex128 if dtype == torch.float64 else np.complex64
    return pennylane_layer(problem, dtype, device="lightning.qubit", method="adjoint", c_dtype=complex_type)


def _refuses(problem: Problem, operation: Operation) -> str | None:
    if operation == "forward" or problem.encoding == "angle" or problem.num_features == 2**problem.num_qubits:
        return None
    return (
        "its derivative is NaN: state preparation by gates is not differentiable where the vector is padded with zeros"
    )


PEERS = (
    LayerPeer(
        "PennyLane lightning.qubit, adjoint",
        ("pennylane", "pennylane-lightning"),
        _make,
        precisions=("double",),
        loops=True,
        penalised=False,
        checked=16,
        refuses=_refuses,
    ),
)
