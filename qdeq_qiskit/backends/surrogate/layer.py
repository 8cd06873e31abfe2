"""Measured operators as a layer, and as a backend, so that every solver and every adjoint works on them."""

from __future__ import annotations

from typing import Literal, Self, final

import torch
from pydantic import PrivateAttr
from torch import Tensor, nn

from qdeq_qiskit.backends.in_memory import InMemoryBackend
from qdeq_qiskit.backends.maps import QuadraticMap
from qdeq_qiskit.backends.operator_layer import OperatorLayer
from qdeq_qiskit.backends.surrogate.errors import SurrogateError
from qdeq_qiskit.backends.surrogate.measured import MeasuredOperators
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost

# A model in single precision knows its weights to as much.
_SAME_WEIGHT = 1e-5


@final
class SurrogateLayer(OperatorLayer):
    """q(v; θ) at the one θ where its operators were measured; double precision, no circuits; differentiable in v.

    Args:
        qnn: the circuit.
        measured: its operators.
        weight: θ, (P,), to share with another layer; if None, where they were measured.

    Attributes:
        measured: as given.

    Raises:
        SurrogateError: the operators are of another circuit.
    """

    def __init__(self, qnn: QNNCircuit, measured: MeasuredOperators, *, weight: nn.Parameter | None = None) -> None:
        outputs, features, _ = measured.operators.shape
        if (outputs, features, len(measured.weight)) != (qnn.num_outputs, qnn.num_features, qnn.num_weights):
            raise SurrogateError(
                f"the measured operators are of a circuit with {features} features, {len(measured.weight)} weights "
                f"and {outputs} outputs; this one has {qnn.num_features}, {qnn.num_weights} and {qnn.num_outputs}"
            )
        weight = nn.Parameter(measured.weight.clone()) if weight is None else weight
        super().__init__(qnn, device=torch.device("cpu"), dtype=torch.float64, weight=weight)
        self.measured = measured
        self._operators = measured.operators

    @property
    def explanation(self) -> str:
        """How the circuit is evaluated, in one sentence."""
        return f"a quadratic form for each output, measured with {len(self.measured.values)} preparations"

    def build(self, weight: Tensor) -> Tensor:
        """A, (K, d, d).

        Raises:
            SurrogateError: at other weights than those measured at, or if a gradient by the weights would be lost.
        """
        if self.training and torch.is_grad_enabled() and weight.requires_grad:
            raise SurrogateError(
                "measured operators have no gradient by the weights, so a surrogate cannot be trained; train on the "
                "processor itself or on a simulator"
            )
        if not torch.allclose(weight.detach().double().cpu(), self.measured.weight, rtol=0, atol=_SAME_WEIGHT):
            raise SurrogateError("the weights are others than those at which the operators were measured")
        return self._operators

    def map_of(self, operators: Tensor, weight: Tensor, x: Tensor, lift: Tensor) -> FixedPointMap:
        return QuadraticMap(operators, x, lift, MapCost())


@final
class SurrogateBackend(InMemoryBackend):
    """Where measured operators stand for the circuit."""

    kind: Literal["surrogate"] = "surrogate"
    _measured: MeasuredOperators = PrivateAttr()

    @classmethod
    def of(cls, measured: MeasuredOperators) -> Self:
        """The backend of some operators."""
        backend = cls()
        backend._measured = measured
        return backend

    def layer(self, qnn: QNNCircuit, weight: nn.Parameter | None = None) -> SurrogateLayer:
        return SurrogateLayer(qnn, self._measured, weight=weight)

    def describe(self) -> str:
        measured = self._measured
        return f"surrogate ({measured.design}, {len(measured.values)} preparations, {measured.shots} shots)"
