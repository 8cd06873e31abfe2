"""A network behind Qiskit's own TorchConnector, its Jacobian taken from the network itself."""

from __future__ import annotations

import torch
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN

from ..layer_case import CircuitLayer


def connected(network: EstimatorQNN) -> CircuitLayer:
    """The connector of a network; its output is in single precision, whatever the network computes in."""
    connector = TorchConnector(network)

    def jacobian(features: torch.Tensor) -> torch.Tensor:
        of_inputs, _ = network.backward(features.numpy(), connector.weight.detach().numpy())
        return torch.as_tensor(of_inputs, dtype=features.dtype)

    return CircuitLayer(connector, connector.weight, jacobian)
