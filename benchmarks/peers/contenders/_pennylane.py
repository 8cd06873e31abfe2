"""The circuit as a PennyLane user writes it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..layer_case import CircuitLayer
from ..problem import Gate, Problem


class PennyLaneLayer(nn.Module):
    """A QNode as a torch module; the batch goes through PennyLane's parameter broadcasting.

    PennyLane's wire 0 is the most significant bit of a state, as in the amplitude encoding of this library.

    Args:
        problem: the circuit.
        dtype: of θ.
        device: a PennyLane device's name.
        method: of differentiation.
        options: of the device.
    """

    def __init__(self, problem: Problem, dtype: torch.dtype, *, device: str, method: str, **options: Any) -> None:
        import pennylane as qml

        super().__init__()
        self.weight = nn.Parameter(torch.zeros(problem.num_weights, dtype=dtype))
        kinds = {
            "rx": qml.RX,
            "ry": qml.RY,
            "rz": qml.RZ,
            "crx": qml.CRX,
            "cx": qml.CNOT,
            "h": qml.Hadamard,
            "sx": qml.SX,
        }
        wires = range(problem.num_qubits)

        def apply(gate: Gate, angles: Tensor) -> None:
            arguments = () if gate.index is None else (angles[..., gate.index],)
            kinds[gate.name](*arguments, wires=gate.wires)

        @qml.qnode(qml.device(device, wires=problem.num_qubits, **options), interface="torch", diff_method=method)
        def circuit(features: Tensor, weight: Tensor) -> list[Any]:
            if problem.encoding == "amplitude":
                qml.AmplitudeEmbedding(features, wires=wires, pad_with=0.0, normalize=True)
            for gate in problem.encoder:
                apply(gate, features)
            for gate in problem.ansatz:
                apply(gate, weight)
            return [qml.expval(qml.PauliZ(wire)) for wire in wires]

        self.circuit = circuit

    def forward(self, features: Tensor) -> Tensor:
        """⟨Z_k⟩, (B, n), of features, (B, d)."""
        usual = torch.get_default_dtype()
        torch.set_default_dtype(features.dtype)  # of what comes back where no gradient is recorded
        try:
            return torch.stack(self.circuit(features, self.weight), dim=-1).to(features.dtype)
        finally:
            torch.set_default_dtype(usual)


def pennylane_layer(problem: Problem, dtype: torch.dtype, *, device: str, method: str, **options: Any) -> CircuitLayer:
    """The layer and its weight."""
    layer = PennyLaneLayer(problem, dtype, device=device, method=method, **options)
    return CircuitLayer(layer, layer.weight)
