r"""The angle-encoded map by operators where every wire's state is real: one RY on each wire.

Then :math:`r_w = (1, \sin φ_w, \cos φ_w)` of the operators 1, X and Z, three coordinates a wire in place of four, and
real parts of the operators are all that is seen of them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor

from qdeq_qiskit.backends.feature_angles import FeatureAngles
from qdeq_qiskit.backends.maps.product import contract, slopes_of
from qdeq_qiskit.backends.program import PAULIS, GateProgram


class CircleEncoder:
    """Values and derivatives of the outputs, given coefficients T, (K, 3ⁿ).

    Args:
        program: one RY on each wire, in order; the angle map's parameters are the features (and the weights, unused).
        num_features: d.
    """

    def __init__(self, program: GateProgram, num_features: int) -> None:
        self._angles = FeatureAngles(program.angle_map, num_features)

    def value(self, v: Tensor, coefficients: Tensor) -> Tensor:
        """q, (B, K), of features, (B, d), given T."""
        return contract(coefficients, self._circles(v)[0])

    def value_and_jacobian(self, v: Tensor, coefficients: Tensor, lift: Tensor) -> tuple[Tensor, Tensor]:
        """q, (B, K), and ∂q/∂w, (B, K, m), for v = R w + x, (B, d), given T."""
        circles, turned = self._circles(v)
        slopes = slopes_of(coefficients, circles)
        value = (slopes[:, 0] * circles[0]).sum(1)
        by_angle = (slopes * turned).sum(2).permute(2, 0, 1)  # (B, K, n)
        directions = self._angles.along(v, lift)
        if directions.shape[-1] == 1:
            return value.T.contiguous(), by_angle @ directions.squeeze(-1)
        return value.T.contiguous(), by_angle @ directions.permute(2, 0, 1)

    def _circles(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """(1, sin φ, cos φ), (n, 3, B), and its derivative by φ."""
        angles = self._angles(v).T
        sin, cos = angles.sin(), angles.cos()
        return torch.stack((torch.ones_like(sin), sin, cos), 1), torch.stack((torch.zeros_like(sin), cos, -sin), 1)


def circle_coefficients(operators: Tensor) -> Tensor:
    """T_kP = 2⁻ⁿ Tr(A_k P), (K, 3ⁿ), P counted wire by wire in the order 1, X, Z, wire 0 first.

    Args:
        operators: A, (K, 2ⁿ, 2ⁿ), real and symmetric, in wire order.
    """
    outputs, size, _ = operators.shape
    wires = size.bit_length() - 1
    interleaved = [0, *(axis for wire in range(wires) for axis in (1 + wire, 1 + wires + wire))]
    tensor = operators.reshape(outputs, *(2,) * (2 * wires)).permute(interleaved)
    left = wires // 2
    first, second = (_traces(m, operators.dtype, operators.device) for m in (left, wires - left))
    tensor = tensor.reshape(outputs, 4**left, 4 ** (wires - left))
    return (first @ tensor @ second.T).reshape(outputs, -1)


@cache
def _traces(wires: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Rows ½ᵐ P as functionals on (row, column) pairs wire by wire, (3ᵐ, 4ᵐ)."""
    single = np.stack([PAULIS[name].real.reshape(4) / 2 for name in "ixz"])
    matrix: np.ndarray = np.eye(1)
    for _ in range(wires):
        matrix = np.kron(matrix, single)
    with torch.inference_mode(False):  # it is kept, and must serve outside of inference mode too
        return torch.as_tensor(matrix, dtype=dtype, device=device)
