r"""The map behind an entangling encoder with noise: :math:`q_k(v) = \sum_P T_{kP} F_P(v)`."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.feature_angles import FeatureAngles
from qdeq_qiskit.backends.maps import QuadraticMap
from qdeq_qiskit.backends.maps.measured import repeated
from qdeq_qiskit.backends.noisy.pauli_transfer import pauli_strings
from qdeq_qiskit.backends.noisy.prepared_state import PreparedState
from qdeq_qiskit.equilibrium import FixedPointMap, MapCost

# States and their tangents are held for so many samples at once that they are about as many numbers.
_HELD_ELEMENTS = 2**24


@final
class NoisyEncoder:
    """Features to states in Pauli coordinates, and what the encoder would do without noise.

    Args:
        state: the encoder's gates with their noise.
        angles: their angles from features.
        isometry: V, (2ⁿ, d), with V v / ‖v‖ the ideal encoder's state; None if there is no such matrix.
    """

    def __init__(self, state: PreparedState, angles: FeatureAngles, isometry: np.ndarray | None) -> None:
        self.prepared = state
        self._angles = angles
        self._isometry = None if isometry is None else IdealEncoder(isometry)

    @property
    def has_ideal(self) -> bool:
        """Whether `steering` knows what the encoder would do without noise."""
        return self._isometry is not None

    def state(self, v: Tensor, near: Tensor) -> Tensor:
        """F, (S, B), of features, (B, d), with angles near those of other features; differentiable."""
        return self.prepared.state(self._angles(v, near).T)

    def state_and_tangents(self, v: Tensor, near: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """F, (S, B), and its derivatives along the columns of `directions`, (S, m, B); differentiable."""
        return self.prepared.state_and_tangents(self._angles(v, near).T, self._angles.along(v, directions))

    def steering(self, coefficients: Tensor, x: Tensor, lift: Tensor, cost: MapCost) -> FixedPointMap | None:
        """The map of the same operators behind the ideal encoder; None if that is not known."""
        if self._isometry is None:
            return None
        return QuadraticMap(self._isometry.operators(coefficients), x, lift, cost).frozen()


@final
class IdealEncoder:
    """Operators as they act on the vectors that an isometry encodes.

    Args:
        isometry: V, (2ⁿ, d).
    """

    def __init__(self, isometry: np.ndarray) -> None:
        self._isometry = torch.as_tensor(isometry)

    def operators(self, coefficients: Tensor) -> Tensor:
        """A_k = Re V† M_k V, (K, d, d), of M_k = Σ_P T_kP P with T, (K, 4ⁿ); differentiable."""
        wires = len(self._isometry).bit_length() - 1
        single = torch.as_tensor(pauli_strings(1), device=coefficients.device)
        table = coefficients.to(_complex(coefficients.dtype)).view(-1, *(4,) * wires)
        for _ in range(wires):
            # The first of the remaining Pauli axes becomes a row and a column axis, at the end.
            table = torch.tensordot(table, single.to(table), dims=([1], [0]))
        rows = range(1, 2 * wires, 2)
        table = table.permute(0, *rows, *(axis + 1 for axis in rows)).reshape(-1, 2**wires, 2**wires)
        isometry = self._isometry.to(table)
        return (isometry.mH @ table @ isometry).real


@final
class PreparedMap(FixedPointMap):
    """w ↦ q(R w + x) behind a noisy encoder.

    The encoder's angles are taken near those of the sample's own features x, so that they do not jump while w is
    sought: where they do, so does f.

    Newton's steps are steered by the Jacobian behind the ideal encoder, where that is known: it differs by as much as
    the encoder's noise, and costs a twentieth.

    Args:
        coefficients: T, (K, 4ⁿ).
        x: features, (B, d).
        lift: R, (d, n).
        encoder: features to states.
        cost: circuits that a machine would need.
        steering: the same map behind the ideal encoder, once it is built.
        seen: T as far as the encoder's states see it, once it is built.
    """

    def __init__(
        self,
        coefficients: Tensor,
        x: Tensor,
        lift: Tensor,
        encoder: NoisyEncoder,
        cost: MapCost,
        steering: FixedPointMap | None = None,
        seen: Tensor | None = None,
    ) -> None:
        self._coefficients = coefficients
        self._x = x
        self._lift = lift
        self._encoder = encoder
        self._cost = cost
        self._steering = steering
        self._kept = seen

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        return self._coefficients, self._x

    @property
    def cost(self) -> MapCost:
        return self._cost

    @property
    def steers_exactly(self) -> bool:
        return not self._encoder.has_ideal

    def with_inputs(self, inputs: tuple[Tensor, ...]) -> PreparedMap:
        coefficients, x = inputs
        return PreparedMap(coefficients, x, self._lift, self._encoder, self._cost)

    def select(self, rows: Tensor) -> PreparedMap:
        steering = None if self._steering is None else self._steering.select(rows)
        x = self._x.index_select(0, rows)
        return PreparedMap(self._coefficients, x, self._lift, self._encoder, self._cost, steering, self._kept)

    def frozen(self) -> PreparedMap:
        coefficients, x = self._coefficients.detach(), self._x.detach()
        steering = self._encoder.steering(coefficients, x, self._lift, self._cost)
        seen = self._encoder.prepared.coordinates(coefficients)
        return PreparedMap(coefficients, x, self._lift, self._encoder, self._cost, steering, seen)

    def value(self, w: Tensor) -> Tensor:
        v = torch.addmm(self._x, w, self._lift.T)
        self._encoder.prepared.announce(len(v))
        with torch.set_grad_enabled(torch.is_grad_enabled() and v.requires_grad):
            state = self._encoder.state(v, self._x)
        return (self._seen() @ state).T.contiguous()

    def at_features(self, w: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        def layer(at: Tensor) -> Tensor:
            self._encoder.prepared.announce(len(at))
            return (self._seen() @ self._encoder.state(at, repeated(self._x, at))).T

        return torch.addmm(self._x, w, self._lift.T), layer

    def value_and_jacobian(self, w: Tensor) -> tuple[Tensor, Tensor]:
        return self._derivatives(w, self._lift)

    def value_and_steering(self, w: Tensor) -> tuple[Tensor, Tensor]:
        if self._steering is None:
            return self.value_and_jacobian(w)
        return self.value(w), self._steering.value_and_jacobian(w)[1]

    def unlifted_jacobian(self, w: Tensor) -> Tensor:
        identity = torch.eye(self._x.shape[1], dtype=self._x.dtype, device=self._x.device)
        return self._derivatives(w, identity)[1]

    def _derivatives(self, w: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        v, seen = torch.addmm(self._x, w, self._lift.T), self._seen()
        self._encoder.prepared.announce(len(v), directions.shape[1])
        rows = max(1, _HELD_ELEMENTS // (seen.shape[1] * (1 + directions.shape[1])))
        pairs = zip(v.split(rows), self._x.split(rows), strict=True)
        parts = [self._seen_derivatives(seen, some, near, directions) for some, near in pairs]
        if len(parts) == 1:
            return parts[0]
        values, jacobians = zip(*parts, strict=True)
        return torch.cat(values), torch.cat(jacobians)

    def _seen_derivatives(self, seen: Tensor, v: Tensor, near: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        # Value and Jacobian are linear in T; where v needs no gradient, nothing else is recorded.
        with torch.set_grad_enabled(torch.is_grad_enabled() and v.requires_grad):
            state, tangents = self._encoder.state_and_tangents(v, near, directions)
        jacobian = (seen @ tangents.flatten(1)).view(len(seen), *tangents.shape[1:])
        return (seen @ state).T.contiguous(), jacobian.permute(2, 0, 1)

    def _seen(self) -> Tensor:
        return self._encoder.prepared.coordinates(self._coefficients) if self._kept is None else self._kept


def _complex(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype == torch.float64 else torch.complex64
