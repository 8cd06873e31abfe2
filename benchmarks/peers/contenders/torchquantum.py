"""PyPI's torchquantum, in an interpreter of its own: it needs a Qiskit older than 1.0 and a NumPy older than 2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..layer_case import CircuitLayer
from ..other_interpreter import OtherInterpreterPeer
from ..problem import Gate, Problem


class TorchQuantumLayer(nn.Module):
    """The circuit by `torchquantum.functional`, the whole batch at once; wire 0 is the most significant bit.

    Args:
        problem: the circuit.
        dtype: of θ. TorchQuantum's states are in single precision always.
    """

    def __init__(self, problem: Problem, dtype: torch.dtype) -> None:
        import torchquantum

        super().__init__()
        self.weight = nn.Parameter(torch.zeros(problem.num_weights, dtype=dtype))
        self.problem = problem
        self.encoder = torchquantum.StateEncoder()
        self.measure = torchquantum.MeasureAll(torchquantum.PauliZ)
        self._device = torchquantum.QuantumDevice
        functional = torchquantum.functional
        names = {"h": "hadamard", "cx": "cnot"}
        self._gates = {
            name: getattr(functional, names.get(name, name)) for name in ("rx", "ry", "rz", "crx", "cx", "h", "sx")
        }

    def forward(self, features: Tensor) -> Tensor:
        """⟨Z_k⟩, (B, n), of features, (B, d)."""
        device = self._device(n_wires=self.problem.num_qubits, bsz=len(features))
        if self.problem.encoding == "amplitude":
            self.encoder(device, features)
        for gate in self.problem.encoder:
            self._apply(gate, device, features)
        for gate in self.problem.ansatz:
            self._apply(gate, device, self.weight)
        outputs: Tensor = self.measure(device)
        return outputs

    def _apply(self, gate: Gate, device: object, angles: Tensor) -> None:
        turned = {} if gate.index is None else {"params": angles[..., gate.index]}
        self._gates[gate.name](device, wires=list(gate.wires), **turned)


def make(problem: Problem, dtype: torch.dtype) -> CircuitLayer:
    """What the other interpreter calls."""
    layer = TorchQuantumLayer(problem, dtype)
    return CircuitLayer(layer, layer.weight)


def _peer(name: str, **options: Any) -> OtherInterpreterPeer:
    return OtherInterpreterPeer(
        name,
        "torchquantum",
        contender="torchquantum",
        precisions=("single",),
        python_variable="QDEQ_TORCHQUANTUM_PYTHON",
        python_default=".venv-torchquantum/bin/python",
        how="make peer-torchquantum",
        **options,
    )


PEERS = (
    _peer("TorchQuantum"),
    _peer("TorchQuantum, torchdeq", penalised=False, checked=4, solving="torchdeq"),
)
