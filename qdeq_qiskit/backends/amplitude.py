"""Amplitude encoding in torch: gate angles from vectors, and vectors from gate angles, both differentiable.

The twin of `qdeq_qiskit.circuits.amplitude_angles`, which says how the tree is built and where its signs come from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from qdeq_qiskit.circuits import amplitude_signs, gray_walsh_matrix


class AmplitudeAngles(nn.Module):
    """Gate angles of `amplitude_encoder(n, d)` from features, for a stock TorchConnector to train an amplitude model.

    Derivatives are finite everywhere. Where a block of v is zero its angles are not defined; they, and their
    derivatives, are set to zero, as is right for branches that carry no amplitude. The direction in which such a
    block would grow is thereby lost to gradients that pass through angles (and only to those).

    Args:
        num_features: d, at least 2.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_wires = (num_features - 1).bit_length()
        self._padding = 2**self.num_wires - num_features
        self.register_buffer("_signs", torch.as_tensor(amplitude_signs(self.num_wires)), persistent=False)
        for level in range(self.num_wires):
            self.register_buffer(f"_walsh{level}", torch.as_tensor(gray_walsh_matrix(level)), persistent=False)

    def forward(self, features: Tensor, near: Tensor | None = None) -> Tensor:
        """Angles, (..., 2^m − 1), of real vectors, (..., d).

        Args:
            features: the vectors.
            near: vectors of the same shape, near whose leaf angles, up to 2π, those of the features are taken; None
                for angles in (−2π, 2π]. Leaf angles that differ by 4π prepare the same state; with noise they do not,
                and the state jumps where they do.
        """
        v = self._signed(features)
        even, odd = v[..., 0::2], v[..., 1::2]
        leaves = _split_angle(odd, even)
        if near is not None:
            start = self._signed(near.detach())
            start = _split_angle(start[..., 1::2], start[..., 0::2])
            leaves = leaves - 4 * torch.pi * ((leaves - start) / (4 * torch.pi)).round()
        levels = [leaves]
        while even.shape[-1] > 1:
            norms = _norm(even, odd)
            even, odd = norms[..., 0::2], norms[..., 1::2]
            levels.append(_split_angle(odd, even))
        levels.reverse()
        walsh = (self.get_buffer(f"_walsh{level}").to(features) for level in range(self.num_wires))
        return torch.cat([angles @ matrix.T for angles, matrix in zip(levels, walsh, strict=True)], dim=-1)

    def _signed(self, vectors: Tensor) -> Tensor:
        return nn.functional.pad(vectors, (0, self._padding)) * self.get_buffer("_signs").to(vectors)


def tree_angles(v: Tensor, near: Tensor) -> Tensor:
    """Halves of the tree's angles, level by level, (2^m − 1, B), of vectors with their signs, (2^m, B).

    Not to be differentiated: `AmplitudeAngles` is, and `tree_tangents` are the derivatives.

    Args:
        v: the vectors.
        near: vectors near whose leaf angles, up to π, those of v are taken, (2^m, B): see `AmplitudeAngles`.
    """
    even, odd = v[0::2] + 0.0, v[1::2] + 0.0  # atan2(0, −0) is π, where a dead branch should have angle 0
    leaves, start = torch.atan2(odd, even), torch.atan2(near[1::2] + 0.0, near[0::2] + 0.0)
    levels = [leaves - 2 * torch.pi * ((leaves - start) / (2 * torch.pi)).round()]
    while len(even) > 1:
        norms = torch.hypot(even, odd)
        even, odd = norms[0::2], norms[1::2]
        levels.append(torch.atan2(odd, even))
    return torch.cat(levels[::-1])


def tree_tangents(v: Tensor, tangents: Tensor) -> Tensor:
    """The derivatives of `tree_angles`, (2^m − 1, m', B), along `tangents` of v, (2^m, m', B) or (2^m, m', 1).

    Differentiable. Derivatives of angles and norms that are not defined are zero.
    """
    even, odd = v[0::2], v[1::2]
    of_even, of_odd = tangents[0::2], tangents[1::2]
    slopes = []
    while True:
        norms = _norm(even, odd)
        inverse = torch.where(norms > 0, 1.0 / torch.where(norms > 0, norms, 1.0), 0.0).unsqueeze(1)
        cos, sin = even.unsqueeze(1) * inverse, odd.unsqueeze(1) * inverse
        slopes.append((cos * of_odd - sin * of_even) * inverse)
        if len(even) == 1:
            return torch.cat(slopes[::-1])
        of_norms = cos * of_even + sin * of_odd
        even, odd, of_even, of_odd = norms[0::2], norms[1::2], of_norms[0::2], of_norms[1::2]


def gates_of_tree(num_wires: int) -> Tensor:
    """The encoder's gate angles from `tree_angles`, (2^m − 1, 2^m − 1), double precision."""
    return 2 * torch.block_diag(*(torch.as_tensor(gray_walsh_matrix(level)) for level in range(num_wires)))


class AmplitudeState(nn.Module):
    """The unit vector that `amplitude_encoder` prepares from given gate angles: the inverse of `AmplitudeAngles`.

    Args:
        num_wires: m, the wires of the tree.
    """

    def __init__(self, num_wires: int) -> None:
        super().__init__()
        self.num_wires = num_wires
        self.register_buffer("_signs", torch.as_tensor(amplitude_signs(num_wires)), persistent=False)
        for level in range(num_wires):
            # The Walsh matrix is orthogonal up to the factor 2^level.
            inverse = torch.as_tensor(gray_walsh_matrix(level)).T * 2**level
            self.register_buffer(f"_inverse{level}", inverse.contiguous(), persistent=False)

    def forward(self, angles: Tensor) -> Tensor:
        """The state's real amplitudes, (..., 2^m), of gate angles, (..., 2^m − 1)."""
        state = torch.ones_like(angles[..., :1])
        for level in range(self.num_wires):
            gates = angles[..., 2**level - 1 : 2 ** (level + 1) - 1]
            half = gates @ self.get_buffer(f"_inverse{level}").to(angles).T / 2
            state = torch.stack((state * half.cos(), state * half.sin()), dim=-1).flatten(-2)
        return state * self.get_buffer("_signs").to(angles)


def _split_angle(odd: Tensor, even: Tensor) -> Tensor:
    """2 atan2(odd, even), and 0 with zero derivatives where both are 0."""
    dead = (odd == 0) & (even == 0)
    return 2 * torch.atan2(torch.where(dead, 0.0, odd), torch.where(dead, 1.0, even))


def _norm(even: Tensor, odd: Tensor) -> Tensor:
    """√(even² + odd²), and 0 with zero derivatives where both are 0."""
    dead = (odd == 0) & (even == 0)
    return torch.where(dead, 0.0, torch.hypot(torch.where(dead, 1.0, even), odd))
