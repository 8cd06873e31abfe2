"""Angles of an encoder's rotations as functions of features, with their derivatives along given directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from qdeq_qiskit.backends.amplitude import AmplitudeAngles
from qdeq_qiskit.backends.program import AngleMap, affine_function


@final
class FeatureAngles:
    """Features → inputs of the circuit → angles of its gates, and of the gates that those are compiled to.

    Args:
        angle_map: inputs to angles; its first parameters are the inputs. Others, which are weights, must not occur.
        num_inputs: how many inputs there are.
        num_amplitudes: d, if the inputs are the gate angles of `amplitude_encoder(n, d)`; None if they are features.
        compilation: (A, b) if the angles wanted are A·φ + b, A (G', G) and b (G',), of those that the map gives.
    """

    def __init__(
        self,
        angle_map: AngleMap,
        num_inputs: int,
        *,
        num_amplitudes: int | None = None,
        compilation: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> None:
        self._unused = len(angle_map.parameters) - num_inputs
        self._amplitudes = None if num_amplitudes is None else AmplitudeAngles(num_amplitudes)
        self._stages: list[Callable[[Tensor], Tensor]] = [angle_map.compile()]
        affine = angle_map.affine()
        if compilation is not None:
            matrix, offset = compilation
            self._stages.append(affine_function(matrix, offset))
            affine = None if affine is None else (matrix @ affine[0], matrix @ affine[1] + offset)
        # With amplitudes, this is the affine part that follows their angles.
        self._slopes = None if affine is None else torch.as_tensor(affine[0][:, :num_inputs])
        self._inner = affine_function(affine[0][:, :num_inputs], affine[1]) if affine and compilation else None

    def __call__(self, v: Tensor) -> Tensor:
        """φ, (B, G), of features, (B, d); differentiable."""
        return self._of_inputs(self._inputs(v))

    def along(self, v: Tensor, directions: Tensor) -> Tensor:
        """The derivatives of φ along the columns of `directions`, (d, m): (G, m, B), or (G, m, 1) if constant."""
        if self._slopes is None:
            return _tangents(self, v, directions)
        slopes = self._slopes.to(v)
        if self._amplitudes is None:
            return (slopes @ directions).unsqueeze(-1)
        inner = _tangents(self._inputs, v, directions)
        return (slopes @ inner.flatten(1)).unflatten(1, inner.shape[1:])

    def _inputs(self, v: Tensor) -> Tensor:
        if self._amplitudes is None:
            return v
        angles: Tensor = self._amplitudes.to(v.device)(v)
        return angles

    def _of_inputs(self, inputs: Tensor) -> Tensor:
        if self._inner is not None:
            return self._inner(inputs)
        values = nn.functional.pad(inputs, (0, self._unused)) if self._unused else inputs
        for stage in self._stages:
            values = stage(values)
        return values


def _tangents(function: Callable[[Tensor], Tensor], v: Tensor, directions: Tensor) -> Tensor:
    """(G, m, B), by forward differentiation."""
    columns = [torch.func.jvp(function, (v,), (column.expand_as(v),))[1] for column in directions.T]
    if not columns:
        return function(v).T.unsqueeze(1)[:, :0]
    return torch.stack(columns, dim=-1).permute(1, 2, 0)
