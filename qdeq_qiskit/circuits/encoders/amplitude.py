"""Amplitude encoding of real vectors as a parameterised circuit, so that it is transpiled once and runs on hardware.

The state is v/‖v‖, grown by a binary tree (Möttönen et al., quant-ph/0407010): level l splits each of 2^l blocks of
the vector into its halves by a rotation RY(α), a uniformly controlled RY with l controls. Each of these is
2^l plain RY with CZ between them; their gate angles θ follow from the tree angles α by a Walsh transform in Gray-code
order. Circuits carry gate angles only, no expressions of parameters: simulators bind those in bulk.

Three steps lead from a vector v to the angles, each a function here, so that they are easily repeated elsewhere
(a differentiable twin, say):

1. pad v with zeros to 2^m entries and multiply by `amplitude_signs(m)`;
2. `tree_angles`: α_l, 2^l of them for each level l = 0, ..., m - 1;
3. θ_l = `gray_walsh_matrix(l)` α_l; the circuit's parameters are θ_0, ..., θ_{m-1} in one row.
"""

from __future__ import annotations

from typing import Annotated, Literal, final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector

from .._limits import MAX_AMPLITUDES
from ._encoder import Encoder, EncoderRecipe


def amplitude_encoder(num_qubits: int, num_amplitudes: int | None = None) -> QuantumCircuit:
    """The circuit whose state is v/‖v‖ in wire order, its parameters being `amplitude_angles(v, num_qubits)`.

    With m = ⌈log₂ d⌉ it acts on the m least significant wires, n - m to n - 1; the others stay in |0⟩, so the
    vector is padded with zeros at its end. It has 2^m - 1 RY and 2^m - 1 - m CZ (11 at m = 4, 57 at m = 6).

    The last CZ of each level is left out. It would join the level's wire to the first wire of the tree, both of which
    serve later levels as controls only, so it commutes to the end, where it is a fixed sign on each amplitude:
    `amplitude_signs`. A vector multiplied by these signs beforehand comes out right.

    Args:
        num_qubits: n, the number of wires.
        num_amplitudes: d, entries of the vectors to be encoded; 2^n if None.

    Returns:
        n qubits, parameters x[0], ..., x[2^m - 2].

    Raises:
        ValueError: if d is under 2 or over 2^n.
    """
    m = _tree_depth(num_qubits, 2**num_qubits if num_amplitudes is None else num_amplitudes)
    x = ParameterVector("x", 2**m - 1)
    circuit = QuantumCircuit(num_qubits, name="amplitude encoder")
    first = num_qubits - m
    for level in range(m):
        target = first + level
        for j in range(2**level):
            circuit.ry(x[2**level - 1 + j], target)
            if j < 2**level - 1:
                # From Gray code j to j + 1 one bit changes, bit 0 being the control next to the target: the CZ that
                # occurs most often joins neighbouring wires, which suits processors with nearest-neighbour coupling.
                circuit.cz(target - 1 - _trailing_zeros(j + 1), target)
    return circuit


def amplitude_angles(v: NDArray[np.floating], num_qubits: int) -> NDArray[np.float64]:
    """Gate angles of `amplitude_encoder(num_qubits, d)` for a batch of real vectors.

    The angles depend on the direction of v alone. Where a block of v is zero, and so for v = 0, the angles of its
    dead branch are zero: finite, and the state of v = 0 is |0...0⟩. NaN in v gives NaN.

    Args:
        v: real vectors, shape (..., d).
        num_qubits: n, the number of wires of the encoder.

    Returns:
        Angles in radians, shape (..., 2^m - 1) with m = ⌈log₂ d⌉.

    Raises:
        ValueError: if v is complex or has no axis, or if d is under 2 or over 2^n.
    """
    v = np.asarray(v)
    if np.iscomplexobj(v) or v.ndim == 0:
        raise ValueError(f"amplitude_angles: v must be real, shape (..., d), not {v.dtype} of shape {v.shape}")
    d = v.shape[-1]
    m = _tree_depth(num_qubits, d)
    padded = np.zeros((*v.shape[:-1], 2**m))
    padded[..., :d] = v
    levels = tree_angles(padded * amplitude_signs(m))
    return np.concatenate([alpha @ gray_walsh_matrix(level).T for level, alpha in enumerate(levels)], axis=-1)


def amplitude_signs(num_wires: int) -> NDArray[np.float64]:
    """What the CZ left out of the encoder would have done: (-1)^{b₀ (b₁ + ... + b_{m-1})}, b₀ the first bit of i.

    Args:
        num_wires: m, the wires of the tree.

    Returns:
        Signs ±1, shape (2^m,): amplitude i of the encoder's state is sign i times that of the complete tree.
    """
    index = np.arange(2**num_wires)
    half = 2**num_wires // 2
    return np.where((index >= half) & (_parity(index % max(half, 1)) == 1), -1.0, 1.0)


def tree_angles(v: NDArray[np.floating]) -> list[NDArray[np.float64]]:
    """Angles α of the rotations that split each block of v in two, from the root to the leaves.

    At the leaves 2 atan2(v_odd, v_even), which carries the signs; above, 2 atan2(‖right half‖, ‖left half‖).

    Args:
        v: shape (..., 2^m), m ≥ 1.

    Returns:
        For each level l = 0, ..., m - 1 the angles of its 2^l blocks in order, shape (..., 2^l).
    """
    # Adding +0.0 turns -0.0 into 0.0: atan2(0.0, -0.0) is π, where a dead branch should have angle 0.
    even, odd = v[..., 0::2] + 0.0, v[..., 1::2] + 0.0
    levels = [2 * np.arctan2(odd, even)]
    while even.shape[-1] > 1:
        norms = np.hypot(even, odd)  # neither overflows nor underflows, as a sum of squares would
        even, odd = norms[..., 0::2], norms[..., 1::2]
        levels.append(2 * np.arctan2(odd, even))
    return levels[::-1]


def gray_walsh_matrix(level: int) -> NDArray[np.float64]:
    """G with θ = G α: gate angles of a uniformly controlled RY with `level` controls from its tree angles.

    Controls in state k turn the sign of rotation j where k and the Gray code g_j = j XOR ⌊j/2⌋ have an odd number of
    ones in common: α_k = Σ_j (-1)^{k·g_j} θ_j. The matrix of these signs is orthogonal up to the factor 2^level.

    Returns:
        G[j, k] = 2^{-level} (-1)^{k·g_j}, shape (2^level, 2^level).
    """
    k = np.arange(2**level)
    gray = k ^ (k >> 1)
    return (1.0 - 2.0 * _parity(gray[:, None] & k[None, :])) / 2**level


@final
class AmplitudeEncoderRecipe(EncoderRecipe):
    """Amplitude encoding of real vectors, signs included."""

    kind: Literal["amplitude"] = "amplitude"
    num_amplitudes: Annotated[int, Field(ge=2, le=MAX_AMPLITUDES)] | None = Field(
        default=None, description="Features d, padded with zeros to a power of two; 2^num_qubits if absent."
    )

    def build(self, num_qubits: int) -> Encoder:
        d = 2**num_qubits if self.num_amplitudes is None else self.num_amplitudes
        if d > MAX_AMPLITUDES:
            raise ValueError(
                f"num_amplitudes is left out, and {num_qubits} qubits hold 2^{num_qubits} of them; give it, at most "
                f"{MAX_AMPLITUDES:,}"
            )
        return Encoder(amplitude_encoder(num_qubits, d), num_amplitudes=d)


def _tree_depth(num_qubits: int, num_amplitudes: int) -> int:
    if num_qubits < 1:
        raise ValueError(f"amplitude encoding: num_qubits must be at least 1, not {num_qubits}")
    if not 2 <= num_amplitudes <= 2**num_qubits:
        raise ValueError(
            f"amplitude encoding: {num_qubits} qubits hold 2 to {2**num_qubits} amplitudes, not {num_amplitudes}; "
            "change num_qubits or num_amplitudes"
        )
    return (num_amplitudes - 1).bit_length()


def _trailing_zeros(j: int) -> int:
    return (j & -j).bit_length() - 1


def _parity(index: NDArray[np.int_]) -> NDArray[np.int_]:
    return np.bitwise_count(index).astype(np.int_) & 1
