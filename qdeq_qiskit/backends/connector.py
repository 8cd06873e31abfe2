"""A `TorchConnector` that evaluates in torch where the estimator is exact, and wastes no Jacobian where it is not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, final
from weakref import WeakKeyDictionary

import numpy as np
import torch
from qiskit.quantum_info import SparsePauliOp
from qiskit_machine_learning.connectors import TorchConnector
from qiskit_machine_learning.neural_networks import EstimatorQNN, NeuralNetwork
from torch import Tensor, nn

from qdeq_qiskit.backends.estimator import HeisenbergEstimator
from qdeq_qiskit.backends.exact import ExactLayer
from qdeq_qiskit.backends.maps.measured import MeasuredMap
from qdeq_qiskit.backends.program import program_of
from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Bindable, FixedPointMap, MapCost


@final
class QNNConnector(TorchConnector, Bindable):
    """A drop-in for `TorchConnector`, with the same constructor and `weight`.

    With an `EstimatorQNN` on a `HeisenbergEstimator` it evaluates in torch, on the device of its input, and is
    differentiable to every order. With every other network and estimator it does what `TorchConnector` does, except
    that a Jacobian is computed once for all vector-Jacobian products that are taken with it; a second derivative, or a
    gradient with respect to an input of a network without `input_gradients`, is an error (stock: silently missing).
    Both ways the output has the dtype of the input (stock: always single precision; torch's default for inputs that
    are no floating-point numbers), and any leading axes.

    The estimator may be exchanged at any time (`network.estimator = ...`; mind the network's gradient, which has its
    own).

    Args:
        neural_network: the network.
        initial_weights: its weights, (P,); uniform in [-1, 1] if None, as in the stock connector.
        sparse: as in the stock connector.
    """

    @property
    def native(self) -> bool:
        """Whether the network is evaluated in torch."""
        return _exact_network(self) is not None

    def forward(self, input_data: Tensor | None = None) -> Tensor:
        """The network's outputs, (..., K), of inputs, (..., d)."""
        if input_data is None or self.sparse or self.neural_network.num_inputs == 0:
            return super().forward(input_data)
        _check_width(self, input_data)
        flat = _floating(input_data).flatten(0, -2) if input_data.ndim > 1 else _floating(input_data).unsqueeze(0)
        network = _exact_network(self)
        if network is None:
            out = _evaluated(flat, self.weight, self.neural_network)
        else:
            layer = _exact_layer(self, network, flat)
            out = layer(flat.to(layer.dtype), self.weight).to(flat.dtype)
        return out.reshape(*input_data.shape[:-1], *out.shape[1:])

    def bind(self, x: Tensor, lift: Tensor) -> FixedPointMap:
        """The map w ↦ q(R w + x); see `connector_map`."""
        return connector_map(self, x, lift)


def connector_map(connector: TorchConnector, x: Tensor, lift: Tensor) -> FixedPointMap:
    """The map w ↦ q(R w + x) of any connector, the stock one included.

    With an `EstimatorQNN` on a `HeisenbergEstimator` it is evaluated in torch, else by the network's own forward and
    backward, one backward a Jacobian.

    Args:
        connector: its network's inputs are the features.
        x: features, (B, d).
        lift: R, (d, n).

    Raises:
        ValueError: features of another number than the network's inputs, or a network whose output is no vector.
    """
    _check_width(connector, x)
    x = _floating(x)
    network = _exact_network(connector)
    if network is not None:
        layer = _exact_layer(connector, network, x)
        return layer.bind(x.to(layer.dtype), lift.to(layer.dtype), connector.weight)
    if connector.sparse or len(connector.neural_network.output_shape) != 1:
        raise ValueError("a fixed point needs a network with a dense vector of outputs")
    return ConnectorMap(connector.neural_network, x, connector.weight, lift)


class ConnectorMap(MeasuredMap[NeuralNetwork]):
    """w ↦ q(R w + x) for a network that is evaluated by its own `forward` and `backward`.

    One Jacobian costs one `backward` call, whatever is taken from it. It is a constant to autograd. The value that
    comes with it is not: a gradient through a Newton step is therefore the implicit one where the iteration has
    converged, and not further from the fixed point; it costs no further calls.
    """

    @property
    def cost(self) -> MapCost:
        return _cost_of(self._source)

    def value(self, w: Tensor) -> Tensor:
        return _evaluated(self._v(w), self._weight, self._source)

    def at_features(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self._v(w), lambda at: _evaluated(at, self._weight, self._source)

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        v = self._v(w)
        jacobians = _jacobians(v, self._weight, self._source)
        assert jacobians[0] is not None
        return _evaluated(v, self._weight, self._source, jacobians), jacobians[0] @ self._lift

    @property
    def shares_products(self) -> bool:
        return True

    def jacobian_at_root(self, w: Tensor) -> Tensor:
        return self.unlifted_jacobian(w) @ self._lift

    def pullback_at_root(self, w: Tensor) -> Callable[[Tensor], Tensor]:
        jacobian = self.jacobian_at_root(w)
        return lambda u: torch.einsum("bk,bkl->bl", u, jacobian)

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        of_v = _jacobians(self._v(w), self._weight, self._source)[0]
        assert of_v is not None
        return of_v

    def vjp(self, w: Tensor, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        of_x, of_weight = (tensor.requires_grad for tensor in self.inputs)
        if not of_x and not of_weight:
            return None, None
        jacobians = _jacobians(self._v(w), self._weight, self._source, of_features=of_x)
        return (
            _pulled(cotangent, jacobians[0], shared=False) if of_x else None,
            _pulled(cotangent, jacobians[1], shared=True) if of_weight else None,
        )


# The exact layers of each connector, evaluated at its weights of the moment: load_state_dict(assign=True) and
# torch.func.functional_call put others in their place.
_LayerKey = tuple[EstimatorQNN, str, torch.device, torch.dtype]
_exact_layers: WeakKeyDictionary[TorchConnector, dict[_LayerKey, ExactLayer]] = WeakKeyDictionary()


def _exact_layer(connector: TorchConnector, network: EstimatorQNN, features: Tensor) -> ExactLayer:
    """The exact layer for the features' device and precision, made once."""
    if features.device != connector.weight.device:
        raise ValueError(
            f"the features are on {features.device}, the weights on {connector.weight.device}; "
            f"move the connector, connector.to({str(features.device)!r}), or the features"
        )
    layers = _exact_layers.setdefault(connector, {})
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    key = (network, network.estimator.engine, features.device, dtype)
    if key not in layers:
        with torch.inference_mode(False):  # it is kept, and must serve outside of inference mode too
            layers[key] = ExactLayer(
                _circuit_of(network),
                engine=network.estimator.engine,
                device=features.device,
                precision="double" if dtype == torch.float64 else "single",
                # Never used; left to itself, the layer would draw its own from torch's generator.
                weight=nn.Parameter(torch.zeros(network.num_weights), requires_grad=False),
            )
    return layers[key]


def _exact_network(connector: TorchConnector) -> EstimatorQNN | None:
    """The connector's network, if it can be evaluated in torch."""
    network = connector.neural_network
    if isinstance(network, EstimatorQNN) and isinstance(network.estimator, HeisenbergEstimator):
        return network if network.num_inputs > 0 else None
    return None


def _check_width(connector: TorchConnector, features: Tensor) -> None:
    if features.ndim == 0 or features.shape[-1] != connector.neural_network.num_inputs:
        raise ValueError(
            f"features have shape {tuple(features.shape)}; this network takes "
            f"(..., {connector.neural_network.num_inputs})"
        )


def _floating(features: Tensor) -> Tensor:
    return features if features.is_floating_point() else features.to(torch.get_default_dtype())


class _Evaluated(torch.autograd.Function):
    """The network's forward, with one backward of the network for all vector-Jacobian products."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, network: NeuralNetwork, jacobians: _Jacobians | None
    ) -> Tensor:
        ctx.save_for_backward(features, weight)
        ctx.network = network
        ctx.jacobians = jacobians
        if not len(features):
            return features.new_zeros(0, *network.output_shape)
        out = _dense(network.forward(_numpy(features), _numpy(weight)))
        return torch.as_tensor(out, dtype=features.dtype, device=features.device)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        features, weight = ctx.saved_tensors
        of_features, of_weight = ctx.needs_input_grad[:2]
        if ctx.jacobians is None:
            ctx.jacobians = _jacobians(features, weight, ctx.network, of_features=of_features)
        left = _pulled(cotangents[0], ctx.jacobians[0], shared=False) if of_features else None
        right = _pulled(cotangents[0], ctx.jacobians[1], shared=True) if of_weight else None
        if torch.is_grad_enabled():
            # Asked to be differentiable again, which they are not: better an error then than a gradient of zero.
            left = None if left is None else _Final.apply(left, features, weight)
            right = None if right is None else _Final.apply(right, features, weight)
        return left, right, None, None


class _Final(torch.autograd.Function):
    """A tensor that depends on others in a way that cannot be differentiated."""

    @staticmethod
    def forward(ctx: Any, result: Tensor, *origins: Tensor) -> Tensor:
        return result.clone()

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor) -> tuple[None, ...]:
        raise RuntimeError(
            "a second derivative was asked of a network that is evaluated by its estimator and gradient; "
            "with a HeisenbergEstimator it has one"
        )


def _evaluated(features: Tensor, weight: Tensor, network: NeuralNetwork, jacobians: _Jacobians | None = None) -> Tensor:
    """The network's outputs, (B, K...); `jacobians` are the network's there, if they are known already."""
    out: Tensor = _Evaluated.apply(features, weight, network, jacobians)
    return out


_Jacobians = tuple[Tensor | None, Tensor | None]
"""∂q/∂features, (B, K..., d), and ∂q/∂θ, (B, K..., P)."""


def _jacobians(features: Tensor, weight: Tensor, network: NeuralNetwork, *, of_features: bool = True) -> _Jacobians:
    """∂q/∂features, (B, K..., d), and ∂q/∂θ, (B, K..., P), from one `backward` of the network."""
    if of_features and not network.input_gradients:
        raise RuntimeError(
            "a gradient with respect to the network's inputs is needed, but the network was made without "
            "input_gradients=True"
        )
    if not len(features):
        outputs = network.output_shape
        return features.new_zeros(0, *outputs, features.shape[1]), weight.new_zeros(0, *outputs, len(weight))
    of_inputs, of_weight = network.backward(_numpy(features), _numpy(weight))
    return (
        None if of_inputs is None else torch.as_tensor(_dense(of_inputs)).to(features),
        None if of_weight is None else torch.as_tensor(_dense(of_weight)).to(weight),
    )


def _dense(array: Any) -> np.ndarray:
    """An output of a network, some of which give sparse arrays."""
    return array if isinstance(array, np.ndarray) else array.todense()


def _pulled(cotangent: Tensor, jacobian: Tensor | None, *, shared: bool) -> Tensor | None:
    """cotangentᵀ J, for every sample, or summed over samples for what they share."""
    if jacobian is None:
        return None
    left = cotangent.flatten(1).to(jacobian)
    right = jacobian.flatten(1, -2)
    return torch.einsum("bk,bkp->p" if shared else "bk,bkd->bd", left, right)


def _numpy(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array


def _circuit_of(network: EstimatorQNN) -> QNNCircuit:
    """The network's circuit, whatever operators its observables are."""
    observables = [
        observable if isinstance(observable, SparsePauliOp) else SparsePauliOp(observable)
        for observable in list(network.observables)
    ]
    return QNNCircuit(network.circuit, network.input_params or (), network.weight_params or (), observables)


# Translating a circuit takes longer than what asks for the number.
_shifts: WeakKeyDictionary[EstimatorQNN, int] = WeakKeyDictionary()


def _cost_of(network: NeuralNetwork) -> MapCost:
    """What one sample costs: every observable is a PUB of its own, every gate occurrence is shifted."""
    if not isinstance(network, EstimatorQNN):
        return MapCost(circuits_per_value=1)
    if network not in _shifts:
        program = program_of(network.circuit, [*(network.input_params or ()), *(network.weight_params or ())])
        _shifts[network] = sum(slot.num_shifts for slot in program.slots)
    outputs = len(network.observables)
    precision = network.default_precision
    shots = math.ceil(1 / precision**2) if precision else 0
    return MapCost(outputs, outputs * _shifts[network], shots)
