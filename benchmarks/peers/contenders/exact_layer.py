"""Ours: the exact layer with either engine."""

from __future__ import annotations

import torch

from qdeq_qiskit.backends.exact import ExactLayer

from ..circuits import qnn_of
from ..layer_case import CircuitLayer
from ..layer_peer import LayerPeer
from ..problem import Problem


def _make(problem: Problem, dtype: torch.dtype, engine: str) -> CircuitLayer:
    precision = "double" if dtype == torch.float64 else "single"
    layer = ExactLayer(qnn_of(problem), engine=engine, precision=precision)
    nothing = torch.zeros(problem.num_features, 0, dtype=dtype)

    def jacobian(features: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return layer.bind(features, nothing).unlifted_jacobian(features.new_zeros(len(features), 0))

    return CircuitLayer(layer, layer.weight, jacobian)


PEERS = (
    LayerPeer(
        "qdeq_qiskit, torch engine",
        ("qdeq-qiskit", "torch"),
        lambda problem, dtype: _make(problem, dtype, "torch"),
        ours=True,
    ),
    LayerPeer(
        "qdeq_qiskit, Aer engine",
        ("qdeq-qiskit", "qiskit-aer"),
        lambda problem, dtype: _make(problem, dtype, "aer"),
        ours=True,
    ),
)
