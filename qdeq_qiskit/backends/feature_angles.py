"""Angles of an encoder's rotations as functions of features, with their derivatives along given directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from qdeq_qiskit.backends.amplitude import AmplitudeAngles, gates_of_tree, tree_angles, tree_tangents
from qdeq_qiskit.backends.program import AngleMap, affine_function
from qdeq_qiskit.circuits import amplitude_signs

Compilation = tuple[np.ndarray, np.ndarray]
"""(A, b): compiled angles A·φ + b, A (G', G) and b (G',), of angles φ before compilation."""


@final
class FeatureAngles:
    """Features → inputs of the circuit → angles of its gates, and of the gates that those are compiled to.

    Args:
        angle_map: inputs to angles; its first parameters are the inputs. Others, which are weights, must not occur.
        num_inputs: how many inputs there are.
        num_amplitudes: d, if the inputs are the gate angles of `amplitude_encoder(n, d)`; None if they are features.
        compilation: how the angles wanted come of those that the map gives; None if they are the same.
    """

    def __init__(
        self,
        angle_map: AngleMap,
        num_inputs: int,
        *,
        num_amplitudes: int | None = None,
        compilation: Compilation | None = None,
    ) -> None:
        self._unused = len(angle_map.parameters) - num_inputs
        self._stages: list[Callable[[Tensor], Tensor]] = [angle_map.compile()]
        affine = angle_map.affine()
        if compilation is not None:
            self._stages.append(affine_function(*compilation))
        if affine is not None:
            slopes, offset = affine[0][:, :num_inputs], affine[1]
            affine = (slopes, offset) if compilation is None else _after(compilation, slopes, offset)
        self._slopes = None if affine is None else torch.as_tensor(affine[0])
        if affine is not None and compilation is not None:
            self._unused, self._stages = 0, [affine_function(*affine)]
        self._amplitudes = None if num_amplitudes is None else AmplitudeAngles(num_amplitudes)
        self._tree = None if num_amplitudes is None or affine is None else _Tree(num_amplitudes, *affine)

    def __call__(self, v: Tensor, near: Tensor | None = None) -> Tensor:
        """φ, (B, G), of features, (B, d); differentiable.

        Args:
            v: the features.
            near: features near whose angles those of amplitudes are taken, see `AmplitudeAngles`; None for v itself.
        """
        if self._tree is not None and not (torch.is_grad_enabled() and v.requires_grad):
            return self._tree.angles(v, v if near is None else near).T
        values = v if self._amplitudes is None else self._amplitudes.to(v.device)(v, near)
        values = nn.functional.pad(values, (0, self._unused)) if self._unused else values
        for stage in self._stages:
            values = stage(values)
        return values

    def along(self, v: Tensor, directions: Tensor) -> Tensor:
        """The derivatives of φ along the columns of `directions`, (d, m): (G, m, B), or (G, m, 1) if constant."""
        if self._tree is not None:
            return self._tree.along(v, directions)
        if self._slopes is not None:
            if self._slopes.dtype != v.dtype or self._slopes.device != v.device:
                with torch.inference_mode(False):  # what is kept must serve outside of inference mode too
                    self._slopes = self._slopes.to(v)
            return (self._slopes @ directions).unsqueeze(-1)
        columns = [torch.func.jvp(self, (v,), (column.expand_as(v),))[1] for column in directions.T]
        if not columns:
            return self(v).T.unsqueeze(1)[:, :0]
        return torch.stack(columns, dim=-1).permute(1, 2, 0)


class _Tree:
    """Angles that are affine functions of the amplitude tree's: A·φ + b."""

    def __init__(self, num_amplitudes: int, slopes: np.ndarray, offset: np.ndarray) -> None:
        wires = (num_amplitudes - 1).bit_length()
        self._padding = 2**wires - num_amplitudes
        self._signs = torch.as_tensor(amplitude_signs(wires)).unsqueeze(1)
        self._matrix = torch.as_tensor(slopes) @ gates_of_tree(wires)
        self._offset = torch.as_tensor(offset).unsqueeze(1)

    def angles(self, v: Tensor, near: Tensor) -> Tensor:
        """(G, B)."""
        self._move(v)
        return torch.addmm(self._offset, self._matrix, tree_angles(self._signed(v.T), self._signed(near.T)))

    def along(self, v: Tensor, directions: Tensor) -> Tensor:
        """(G, m, B)."""
        self._move(v)
        tangents = self._signed(directions).unsqueeze(-1)
        slopes = tree_tangents(self._signed(v.T), tangents)
        return (self._matrix @ slopes.flatten(1)).unflatten(1, slopes.shape[1:])

    def _signed(self, columns: Tensor) -> Tensor:
        return nn.functional.pad(columns, (0, 0, 0, self._padding)) * self._signs

    def _move(self, v: Tensor) -> None:
        """Takes the constants to the precision and device of v, once."""
        if self._matrix.dtype != v.dtype or self._matrix.device != v.device:
            with torch.inference_mode(False):  # what is kept must serve outside of inference mode too
                self._signs, self._matrix, self._offset = (
                    tensor.to(v.device, v.dtype) for tensor in (self._signs, self._matrix, self._offset)
                )


def _after(compilation: Compilation, slopes: np.ndarray, offset: np.ndarray) -> Compilation:
    """The affine function, and then the compilation."""
    matrix, shift = compilation
    return matrix @ slopes, matrix @ offset + shift
