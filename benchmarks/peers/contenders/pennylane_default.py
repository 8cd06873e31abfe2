"""PennyLane's default.qubit with torch: the whole batch at once, differentiated by backpropagation.

Its step is made twice: as everybody's, by the library's solver around the QNode, and as a PennyLane user would make it,
with torchdeq's.
"""

from __future__ import annotations

import torch

from ..layer_case import CircuitLayer
from ..layer_peer import SAME_CIRCUIT, LayerPeer
from ..peer import Operation
from ..problem import Problem
from ..solving import by_torchdeq
from ._pennylane import pennylane_layer


def _make(problem: Problem, dtype: torch.dtype) -> CircuitLayer:
    return pennylane_layer(problem, dtype, device="default.qubit", method="backprop")


def _step_only(problem: Problem, operation: Operation) -> str | None:
    return None if operation == "step" else SAME_CIRCUIT


PEERS = (
    LayerPeer("PennyLane default.qubit, backprop", ("pennylane",), _make),
    LayerPeer(
        "PennyLane default.qubit, torchdeq",
        ("pennylane", "torchdeq"),
        _make,
        penalised=False,
        checked=4,
        refuses=_step_only,
        solving=by_torchdeq,
    ),
)
