"""The control: a classical map with exactly as many weights as a circuit, in the circuit's place."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from qdeq_qiskit.equilibrium import Bindable, FixedPointMap

INITIAL_BOUND = 3**0.5
"""Weights start uniform in ± this, so with variance one: then so has A v̂, whatever the input."""

_SEED = 1111  # of the places of the weights, as that of the paper's random layer


@final
class ClassicalLayer(nn.Module, Bindable):
    r"""w = tanh(A v̂) with v̂ = v/‖v‖, where A, (n, d), holds P weights only; bounded as expectation values are.

    A circuit of P weights has far fewer than n·d. To have that many and yet lead every input to every output, weights
    are shared at random (the hashing trick of Chen et al. 2015, arXiv:1504.04788):
    :math:`A_{ki} = s_{ki} θ_{h(k, i)}` with fixed places h and signs s = ±1. Every weight stands in ⌊n d/P⌋ places, or
    in one more.

    The input is normalised as amplitude encoding does it, v = 0 standing for the first unit vector. An angle encoder
    does not normalise; the control in its place does so nevertheless: it is one and the same map for all circuits.

    Args:
        num_features: d.
        num_outputs: n.
        num_weights: P.
        device: where features are expected.
        dtype: the real dtype that features are expected in.

    Attributes:
        weight: θ, (P,); it starts uniform in ±√3, drawn from torch's generator.
        dtype: the real dtype that features are expected in.

    Raises:
        ValueError: there are more weights than entries of A, or none.
    """

    places: Tensor
    signs: Tensor

    def __init__(
        self,
        num_features: int,
        num_outputs: int,
        num_weights: int,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        entries = num_outputs * num_features
        if not 1 <= num_weights <= entries:
            raise ValueError(
                f"model.map is 'classical', and the circuit has {num_weights} weights; its place can be taken with at "
                f"least 1 and at most {entries} ({num_outputs} outputs times {num_features} features): change the "
                "ansatz, or set model.map to quantum"
            )
        self.dtype = dtype
        random = np.random.RandomState(_SEED)  # its numbers are the same in every version of NumPy
        places = random.permutation(entries) % num_weights
        signs = random.randint(0, 2, size=entries) * 2 - 1
        shape = (num_outputs, num_features)
        self.register_buffer("places", torch.from_numpy(places).reshape(shape).to(device), persistent=False)
        self.register_buffer("signs", torch.from_numpy(signs).reshape(shape).to(device, dtype), persistent=False)
        start = torch.empty(num_weights, dtype=dtype).uniform_(-INITIAL_BOUND, INITIAL_BOUND)
        self.weight = nn.Parameter(start.to(device))

    def matrix(self) -> Tensor:
        """A, (n, d); differentiable."""
        return self.signs * self.weight[self.places]

    def forward(self, features: Tensor) -> Tensor:
        """w, (B, n), of features v, (B, d)."""
        self._check(features)
        return _outputs(self.matrix(), _direction(features)[0])

    def bind(self, x: Tensor, lift: Tensor) -> ClassicalMap:
        """The map w ↦ tanh(A v̂), v = R w + x; see `Bindable`.

        Raises:
            ValueError: features of another number, dtype or device than the layer's.
        """
        self._check(x)
        return ClassicalMap(self.matrix(), x, lift)

    def _check(self, x: Tensor) -> None:
        features = self.places.shape[1]
        if x.ndim != 2 or x.shape[1] != features:
            raise ValueError(f"features have shape {tuple(x.shape)}; this map takes (B, {features})")
        if x.dtype != self.dtype or x.device.type != self.places.device.type:
            raise ValueError(
                f"features are {x.dtype} on {x.device}; this layer computes in {self.dtype} on {self.places.device}: "
                "convert them, or build the layer with another precision or device"
            )


@final
class ClassicalMap(FixedPointMap):
    r"""w ↦ tanh(A v̂) with v = R w + x and v̂ = v/‖v‖, and

    .. math:: \partial w_k / \partial v = (1 - w_k^2) (A_k - (A_k \cdot \hat v) \hat v) / \|v\| .

    At v = 0, which stands for the first unit vector, the derivative is zero. It runs no circuits.

    Args:
        matrix: A, (n, d).
        x: features, (B, d).
        lift: R, (d, n).
    """

    def __init__(self, matrix: Tensor, x: Tensor, lift: Tensor) -> None:
        self._matrix = matrix
        self._x = x
        self._lift = lift

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._matrix, self._x

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> ClassicalMap:
        matrix, x = inputs
        return ClassicalMap(matrix, x, self._lift)

    def select(self, rows: Tensor) -> ClassicalMap:
        return ClassicalMap(self._matrix, self._x.index_select(0, rows), self._lift)

    def value(self, w: Tensor) -> Tensor:
        return _outputs(self._matrix, _direction(self._features(w))[0])

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        direction, inverse = _direction(self._features(w))
        return _value_and_slope(self._matrix, direction, inverse, self._matrix @ self._lift, direction @ self._lift)

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        direction, inverse = _direction(self._features(w))
        return _value_and_slope(self._matrix, direction, inverse, self._matrix, direction)[1]

    def at_features(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        return self._features(w), lambda v: _outputs(self._matrix, _direction(v)[0])

    def _features(self, w: Tensor) -> Tensor:
        return torch.addmm(self._x, w, self._lift.mT)


def _direction(v: Tensor) -> tuple[Tensor, Tensor]:
    """v̂, (B, d), and 1/‖v‖, (B, 1); of v = 0 the first unit vector, and 0."""
    squared = torch.linalg.vecdot(v, v).unsqueeze(1)
    nothing = squared == 0
    inverse = torch.where(nothing, 0.0, torch.where(nothing, 1.0, squared).rsqrt())
    first = torch.zeros_like(v[:1])
    first[:, 0] = 1
    return v * inverse + nothing * first, inverse


def _outputs(matrix: Tensor, direction: Tensor) -> Tensor:
    return torch.tanh(direction @ matrix.mT)


def _value_and_slope(
    matrix: Tensor, direction: Tensor, inverse: Tensor, matrix_on: Tensor, direction_on: Tensor
) -> tuple[Tensor, Tensor]:
    """w, (B, n), and (∂w/∂v) S, (B, n, m), from A S, (n, m), and v̂ᵀS, (B, m), for some S, (d, m)."""
    sums = direction @ matrix.mT
    value = torch.tanh(sums)
    steepness = (1 - value.square()) * inverse
    return value, steepness.unsqueeze(2) * (matrix_on - sums.unsqueeze(2) * direction_on.unsqueeze(1))
