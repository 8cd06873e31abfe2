"""Stock Qiskit: EstimatorQNN with parameter shift on Aer, and on Qiskit's StatevectorEstimator, and TorchConnector."""

from __future__ import annotations

import torch

from ...stock_circuit import simulable, stock_qnn
from ..circuits import qnn_of
from ..layer_case import CircuitLayer
from ..layer_peer import LayerPeer, angles_only
from ..problem import Problem
from ._connected import connected


def _make(problem: Problem, dtype: torch.dtype, simulator: str) -> CircuitLayer:
    return connected(stock_qnn(simulable(qnn_of(problem)), simulator=simulator))


PEERS = tuple(
    LayerPeer(
        f"stock Qiskit, {words}",
        ("qiskit-machine-learning", package),
        lambda problem, dtype, simulator=simulator: _make(problem, dtype, simulator),
        precisions=("single",),  # what a TorchConnector puts out
        loops=True,
        penalised=False,
        checked=1,
        refuses=angles_only,
    )
    for simulator, words, package in (
        ("aer", "ParamShift on Aer", "qiskit-aer"),
        ("statevector", "ParamShift on StatevectorEstimator", "qiskit"),
    )
)
