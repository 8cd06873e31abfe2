"""Ours through Qiskit's classes: EstimatorQNN with our estimator and gradient, and either connector."""

from __future__ import annotations

import torch

from qdeq_qiskit.backends.connector import QNNConnector

from ...stock_circuit import heisenberg_qnn
from ..circuits import qnn_of
from ..layer_case import CircuitLayer
from ..layer_peer import LayerPeer, angles_only
from ..problem import Problem
from ._connected import connected

PACKAGES = ("qdeq-qiskit", "qiskit-machine-learning")


def _ours(problem: Problem, dtype: torch.dtype) -> CircuitLayer:
    qnn = heisenberg_qnn(qnn_of(problem), engine="torch", precision="double" if dtype == torch.float64 else "single")
    connector = QNNConnector(qnn).to(dtype)
    nothing = torch.zeros(problem.num_features, 0, dtype=dtype)

    def jacobian(features: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return connector.bind(features, nothing).unlifted_jacobian(features.new_zeros(len(features), 0))

    return CircuitLayer(connector, connector.weight, jacobian)


def _stock(problem: Problem, dtype: torch.dtype) -> CircuitLayer:
    return connected(heisenberg_qnn(qnn_of(problem), engine="torch"))


PEERS = (
    LayerPeer("EstimatorQNN, our estimator and connector", PACKAGES, _ours, ours=True, refuses=angles_only),
    LayerPeer(
        "EstimatorQNN, our estimator, stock connector",
        PACKAGES,
        _stock,
        precisions=("single",),  # what a TorchConnector puts out
        ours=True,
        refuses=angles_only,
    ),
)
