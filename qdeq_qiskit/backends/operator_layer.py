"""What the layers share whose weight block and observables are operators, built once while the weights stand still."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn

from qdeq_qiskit.circuits import QNNCircuit
from qdeq_qiskit.equilibrium import Bindable, FixedPointMap


class OperatorLayer(nn.Module, Bindable):
    """q(v; θ) of a QNN circuit by operators M_k(θ); abstract.

    Args:
        qnn: the circuit.
        device: where features are expected.
        dtype: the real dtype that features are expected in.
        weight: the weights, (P,), to share with another layer; if None they start uniform in (−π, π), drawn from
            torch's generator.

    Attributes:
        qnn: the circuit.
        device: where features are expected.
        dtype: the real dtype that features are expected in.
        weight: θ, (P,).

    Raises:
        ValueError: a weight of another shape.
    """

    def __init__(
        self, qnn: QNNCircuit, *, device: torch.device, dtype: torch.dtype, weight: nn.Parameter | None
    ) -> None:
        super().__init__()
        self.qnn, self.device, self.dtype = qnn, device, dtype
        if weight is None:
            start = torch.empty(qnn.num_weights, dtype=dtype).uniform_(-torch.pi, torch.pi)
            weight = nn.Parameter(start.to(device))
        if weight.shape != (qnn.num_weights,):
            raise ValueError(f"weight has shape {tuple(weight.shape)}; this circuit has {qnn.num_weights} weights")
        self.weight = weight
        self._kept: dict[str, tuple[bytes, Tensor]] = {}

    @abstractmethod
    def build(self, weight: Tensor) -> Tensor:
        """The operators at some weights, (P,); differentiable."""

    @abstractmethod
    def map_of(self, operators: Tensor, weight: Tensor, x: Tensor, lift: Tensor) -> FixedPointMap:
        """The map w ↦ q(R w + x) of a batch, given the operators at these weights."""

    def forward(self, features: Tensor, weight: Tensor | None = None) -> Tensor:
        """q(v), (B, K), of features, (B, d), at the layer's own weights or at others, (P,)."""
        nowhere = features.new_zeros(features.shape[-1] if features.ndim else 0, 0)
        self._check(features)
        bound = self.bound(self.weight if weight is None else weight, features, nowhere, values_only=True)
        return bound.value(features.new_zeros(len(features), 0))

    def bind(self, x: Tensor, lift: Tensor, weight: Tensor | None = None) -> FixedPointMap:
        """The map w ↦ q(R w + x); see `Bindable`.

        Args:
            x: features, (B, d).
            lift: R, (d, n).
            weight: θ, (P,), if not the layer's own.

        Raises:
            ValueError: features of another number, dtype or device than the layer's.
        """
        self._check(x)
        return self.bound(self.weight if weight is None else weight, x, lift)

    def bound(self, weight: Tensor, x: Tensor, lift: Tensor, *, values_only: bool = False) -> FixedPointMap:
        """What `bind` gives for arguments that fit; the map may be one for a single evaluation of the values."""
        return self.map_of(self.operators(weight), weight, x, lift)

    def operators(self, weight: Tensor | None = None) -> Tensor:
        """What `build` gives at the layer's own weights, or at others, (P,); kept for the weights asked for last."""
        return self.built("operators", self.build, self.weight if weight is None else weight)

    def built(self, name: str, build: Callable[[Tensor], Tensor], weight: Tensor) -> Tensor:
        """build(weight), kept under that name for the weights asked for last, unless gradients are recorded."""
        if torch.is_grad_enabled() and weight.requires_grad:
            return build(weight)
        key = weight.detach().cpu().numpy().tobytes()
        if name not in self._kept or self._kept[name][0] != key:
            # Kept tensors must serve outside of inference mode too.
            with torch.inference_mode(False), torch.no_grad():
                self._kept[name] = (key, build(weight.detach().clone()))
        return self._kept[name][1]

    def _check(self, x: Tensor) -> None:
        """Refuses features of another number, dtype or device than the layer's, as `bind` says."""
        if x.ndim != 2 or x.shape[1] != self.qnn.num_features:
            raise ValueError(f"features have shape {tuple(x.shape)}; this circuit takes (B, {self.qnn.num_features})")
        if x.dtype != self.dtype or x.device.type != self.device.type:
            raise ValueError(
                f"features are {x.dtype} on {x.device}; this layer computes in {self.dtype} on {self.device}: "
                "convert them, or build the layer with another precision or device"
            )
